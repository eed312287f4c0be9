//! Every operator by table: case, absent fields, IPv6, and what is refused.

use super::*;
use crate::routing::context::Context;
use crate::routing::values::{Fields, Values};
use serde_json::json;

fn compile(field: &str, operator: Operator, value: Value, case_sensitive: bool) -> Result<Compiled, String> {
    Condition { field: field.into(), operator, value, case_sensitive }
        .compile("c")
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

fn holds(operator: Operator, value: Value, case_sensitive: bool, actual: Option<&str>) -> bool {
    let condition = compile("header.x", operator, value, case_sensitive).unwrap();
    let headers: Vec<(&str, &str)> = actual.map(|actual| ("X", actual)).into_iter().collect();
    holds_in(&condition, &Context::new("10.0.0.1:1".parse().unwrap(), "/", &headers))
}

fn holds_in(condition: &Compiled, context: &Context<'_>) -> bool {
    let (mut fields, mut values) = (Fields::default(), Values::default());
    let slot = fields.slot(&condition.field, condition.check.uses());
    fields.read(context, &mut values);
    condition.check.holds(&values, slot)
}

#[test]
fn every_operator_with_and_without_case() {
    use Operator as O;
    // Operator, value, actual; holds if case does not count; holds if it does.
    let table: &[(O, Value, &str, bool, bool)] = &[
        (O::Equals, json!("VIP"), "vip", true, false),
        (O::Equals, json!("VIP"), "VIP", true, true),
        (O::Equals, json!("vip"), "vip2", false, false),
        (O::Equals, json!("É"), "é", true, false),
        (O::Equals, json!(2), "2", true, true),
        (O::Equals, json!(1.5), "1.5", true, true),
        (O::Equals, json!(true), "True", true, false),
        (O::Equals, json!(""), "", true, true),
        (O::NotEquals, json!("VIP"), "vip", false, true),
        (O::NotEquals, json!("vip"), "free", true, true),
        (O::Contains, json!("Mobile"), "x mobile y", true, false),
        (O::Contains, json!("mobile"), "mobil", false, false),
        (O::Contains, json!("ÀB"), "xàby", true, false),
        (O::NotContains, json!("Mobile"), "x mobile y", false, true),
        (O::NotContains, json!("mobile"), "desktop", true, true),
        (O::StartsWith, json!("V2"), "v2.1", true, false),
        (O::StartsWith, json!("192.168."), "192.168.3.4", true, true),
        (O::StartsWith, json!("192.168."), "10.192.168.", false, false),
        (O::EndsWith, json!(".ORG"), "a.org", true, false),
        (O::EndsWith, json!(".org"), ".org.evil", false, false),
        (O::RegexMatch, json!("^MOB(ile)?$"), "mobile", true, false),
        (O::RegexMatch, json!("i(Phone|Pad)"), "an iPad", true, true),
        (O::RegexMatch, json!("^a"), "ba", false, false),
        (O::InList, json!(["A", "B"]), "b", true, false),
        (O::InList, json!("a, b,,c"), "c", true, true),
        (O::InList, json!([1, true, "x"]), "1", true, true),
        (O::InList, json!(7), "7", true, true),
        (O::InList, json!(["a"]), "", false, false),
        (O::NotInList, json!(["A", "B"]), "b", false, true),
        (O::NotInList, json!("a,b"), "c", true, true),
        (O::IpInRange, json!("192.168.1.0/24"), "192.168.1.77", true, true),
        (O::IpInRange, json!("192.168.1.9/24"), "192.168.1.77", true, true),
        (O::IpInRange, json!("192.168.1.0/24"), "192.168.2.1", false, false),
        (O::IpInRange, json!("192.168.1.7"), "192.168.1.7", true, true),
        (O::IpInRange, json!(["10.0.0.0/8", "2001:db8::/32"]), "2001:DB8::1", true, true),
        (O::IpInRange, json!("10.0.0.0/8, 2001:db8::/32"), "2001:db9::1", false, false),
        (O::IpInRange, json!("10.0.0.0/8"), "::ffff:10.1.1.1", true, true),
        (O::IpInRange, json!("::ffff:10.0.0.0/104"), "10.1.1.1", true, true),
        (O::IpInRange, json!("0.0.0.0/0"), "::1", false, false),
        (O::IpInRange, json!("10.0.0.0/8"), "not an address", false, false),
        (O::Exists, Value::Null, "", true, true),
        (O::Exists, json!(true), "x", true, true),
        (O::NotExists, json!(""), "x", false, false),
    ];
    for (operator, value, actual, insensitive, sensitive) in table {
        for (case_sensitive, expected) in [(false, insensitive), (true, sensitive)] {
            let found = holds(*operator, value.clone(), case_sensitive, Some(actual));
            assert_eq!(found, *expected, "{operator} {value} on {actual:?}, case_sensitive {case_sensitive}");
        }
    }
    let tested: Vec<_> = table.iter().map(|row| row.0).collect();
    assert!(Operator::ALL.iter().all(|operator| tested.contains(operator)));
}

#[test]
fn an_absent_field_holds_for_not_only() {
    for operator in Operator::ALL {
        let value = match operator {
            Operator::Exists | Operator::NotExists => Value::Null,
            Operator::IpInRange => json!("0.0.0.0/0"),
            _ => json!("x"),
        };
        let name = operator.to_string();
        assert_eq!(holds(operator, value, false, None), name.starts_with("not_"), "{name}");
        assert_eq!(serde_json::to_value(operator).unwrap(), json!(name));
    }
}

#[test]
fn addresses_of_clients_are_compared_in_any_spelling() {
    let client = |condition: &Compiled, address: &str| {
        let headers: Vec<(&str, &str)> = Vec::new();
        holds_in(condition, &Context::new(address.parse().unwrap(), "/?client_ip=6.6.6.6", &headers))
    };
    let check = |operator, value: Value, address: &str, expected: bool| {
        let condition = compile("client_ip", operator, value.clone(), true).unwrap();
        assert_eq!(client(&condition, address), expected, "{operator} {value} {address}");
    };
    check(Operator::Equals, json!("2001:DB8:0::1"), "[2001:db8::1]:1", true);
    check(Operator::Equals, json!("::ffff:10.0.0.1"), "10.0.0.1:1", true);
    check(Operator::InList, json!(["10.0.0.1", "::0001"]), "[::1]:1", true);
    check(Operator::Equals, json!("6.6.6.6"), "10.0.0.1:1", false);
    check(Operator::IpInRange, json!("10.0.0.0/8"), "[::ffff:10.0.0.1]:1", true);
    check(Operator::StartsWith, json!("192.168."), "192.168.9.9:1", true);
    check(Operator::IpInRange, json!("fe80::/10"), "[fe80::1]:1", true);
}

#[test]
fn a_bad_condition_is_refused_with_its_place_and_the_fix() {
    use Operator as O;
    for (field, operator, value, parts) in [
        ("", O::Equals, json!("x"), &["c.field: is empty"] as &[_]),
        ("", O::Equals, Value::Null, &["c.field: ", "c.value: is missing; equals needs one"]),
        ("a", O::Equals, json!(["x"]), &["c.value: is a list", "use in_list"]),
        ("a", O::Equals, json!({}), &["must be text"]),
        ("a", O::Contains, json!(""), &["match everything; use exists"]),
        ("a", O::RegexMatch, json!("("), &["no regular expression: unclosed group"]),
        ("a", O::RegexMatch, json!("[0-9]{1000}{1000}"), &["too large"]),
        ("a", O::RegexMatch, json!(r"\w{5000}"), &["too large"]),
        ("a", O::InList, json!([]), &["is an empty list"]),
        ("a", O::InList, json!(" , "), &["is an empty list"]),
        ("a", O::InList, Value::Null, &["needs a list"]),
        ("a", O::InList, json!([["x"]]), &["must be text"]),
        ("a", O::InList, json!(vec!["x"; MAX_LIST + 1]), &["has 1001 entries"]),
        (
            "client_ip",
            O::IpInRange,
            json!("10.0.0.0/33"),
            &["\"10.0.0.0/33\" is not an address", "192.168.1.0/24"],
        ),
        ("client_ip", O::IpInRange, json!(5), &["is not an address"]),
        ("a", O::Exists, json!("x"), &["is not used by exists; leave it out"]),
        ("a", O::NotExists, json!(false), &["leave it out"]),
        ("a", O::Equals, json!("x".repeat(MAX_VALUE + 1)), &["longer than 4096"]),
    ] {
        let error = compile(field, operator, value.clone(), false).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{operator} {value}: {error} lacks {part}");
        }
    }
}
