//! The values of a request that the rules of a snapshot look at: read from the request once, before the first rule, whatever
//! number of rules there is. Each header is looked up in the table of names, not each name in the headers.

use super::context::Context;
use super::field::Field;
use super::head::first_bytes;
use super::pairs::Pairs;
use super::target::{decode, pairs};
use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;

/// The fields that rules speak of, each with a slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    slots: Vec<Field>,
    headers: Names,
    queries: Names,
    cookies: Names,
    /// Slots of fields that are no headers, queries or cookies.
    built_in: Vec<u32>,
    /// Slots that some condition reads as an address.
    addresses: Vec<u32>,
    /// Slots that some condition searches.
    searched: Vec<u32>,
    /// Longest header name looked for; longer ones need no look-up.
    longest_header: usize,
}

/// What a condition needs of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Text,
    /// The address that it is.
    Address,
    /// Its pairs of bytes.
    Search,
}

/// Slots by name; a bare name shares it with `header.` and `query.`.
type Names = HashMap<Box<str>, Vec<u32>>;

impl Fields {
    /// The slot of a field, made if there is none.
    pub(super) fn slot(&mut self, field: &Field, usage: Use) -> u32 {
        let known = self.slots.iter().position(|known| known == field);
        let slot = known.unwrap_or(self.slots.len()) as u32;
        match usage {
            Use::Address if !self.addresses.contains(&slot) => self.addresses.push(slot),
            Use::Search if !self.searched.contains(&slot) => self.searched.push(slot),
            _ => {}
        }
        if known.is_some() {
            return slot;
        }
        self.slots.push(field.clone());
        let mut header = |name: &str| {
            self.longest_header = self.longest_header.max(name.len());
            self.headers.entry(name.to_ascii_lowercase().into()).or_default().push(slot);
        };
        match field {
            Field::Header(name) => header(name),
            Field::UserAgent => header("user-agent"),
            Field::Bare(name) => {
                header(name);
                self.queries.entry(name.clone()).or_default().push(slot);
            }
            Field::Query(name) => self.queries.entry(name.clone()).or_default().push(slot),
            Field::Cookie(name) => self.cookies.entry(name.clone()).or_default().push(slot),
            _ => self.built_in.push(slot),
        }
        slot
    }

    /// All fields, by slot.
    pub(super) fn all(&self) -> &[Field] {
        &self.slots
    }

    /// Reads all slots from a request.
    pub(super) fn read(&self, context: &Context<'_>, values: &mut Values) {
        values.text.clear();
        values.slots.clear();
        values.slots.resize(self.slots.len(), ABSENT);
        self.read_built_in(context, values);
        // Headers before the query: they win for bare names.
        if !self.headers.is_empty() || !self.cookies.is_empty() {
            self.read_headers(context, values);
        }
        if !self.queries.is_empty() {
            for (name, value) in pairs(context.target.query) {
                if let Some(slots) = self.queries.get(&*decode(name, true)) {
                    values.put_all(slots, &decode(value, true));
                }
            }
        }
        for slot in &self.addresses {
            values.slots[*slot as usize].address = if self.slots[*slot as usize] == Field::ClientIp {
                Some(context.client_ip)
            } else {
                let address = values.get(*slot).and_then(|value| value.trim().parse::<IpAddr>().ok());
                address.map(|address| address.to_canonical())
            };
        }
        values.pairs.clear();
        for slot in &self.searched {
            if let Some(text) = values.bytes(*slot, false) {
                let pairs = Pairs::of(text);
                values.slots[*slot as usize].pairs = Some(values.pairs.len() as u32);
                values.pairs.push(pairs);
            }
        }
    }

    fn read_built_in(&self, context: &Context<'_>, values: &mut Values) {
        let target = &context.target;
        for slot in self.built_in.iter().copied() {
            match &self.slots[slot as usize] {
                Field::ClientIp => values.put_display(slot, &context.client_ip),
                Field::ClientPort => values.put_display(slot, &context.client_port),
                Field::Path => values.put(slot, target.path),
                Field::Host => {
                    if let Some(host) = context.headers.first("host") {
                        values.put(slot, without_port(host));
                    }
                }
                Field::SessionId => values.put_some(slot, target.session_id.as_deref()),
                Field::Service => values.put_some(slot, target.service.as_deref()),
                Field::Tag => values.put_some(slot, target.tags().next().as_deref()),
                Field::UserAgent | Field::Header(_) | Field::Query(_) | Field::Cookie(_) | Field::Bare(_) => {
                }
            }
        }
    }

    fn read_headers(&self, context: &Context<'_>, values: &mut Values) {
        let mut lower = std::mem::take(&mut values.name);
        for (name, value) in (0..).map_while(|index| context.headers.header(index)) {
            // What is no text matches nothing.
            let is_cookie = !self.cookies.is_empty() && name.eq_ignore_ascii_case("cookie");
            if name.len() > self.longest_header && !is_cookie {
                continue;
            }
            let Ok(value) = std::str::from_utf8(value) else { continue };
            lower.clear();
            lower.push_str(name);
            lower.make_ascii_lowercase();
            if let Some(slots) = self.headers.get(lower.as_str()) {
                values.put_all(slots, value.trim());
            }
            if is_cookie {
                for (name, value) in value.split(';').filter_map(|pair| pair.trim().split_once('=')) {
                    if let Some(slots) = self.cookies.get(name) {
                        values.put_all(slots, value.trim_matches('"'));
                    }
                }
            }
        }
        values.name = lower;
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// What was read. Kept by the caller from request to request, so that reading needs no memory of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    text: String,
    slots: Vec<Slot>,
    pairs: Vec<Pairs>,
    name: String,
}

/// Where in `Values::text` a value is, as sent and in lower case.
#[derive(Clone, Copy, Debug)]
struct Slot {
    raw: (u32, u32),
    lower: (u32, u32),
    /// How it begins, in lower case.
    head: u64,
    address: Option<IpAddr>,
    /// Index of its pairs.
    pairs: Option<u32>,
}

const ABSENT: Slot =
    Slot { raw: (u32::MAX, u32::MAX), lower: (u32::MAX, u32::MAX), head: 0, address: None, pairs: None };

impl Values {
    /// The value as sent (decoded); none: the request has no such field.
    pub(super) fn get(&self, slot: u32) -> Option<&str> {
        std::str::from_utf8(self.bytes(slot, true)?).ok()
    }

    /// The bytes of the value, as sent or in lower case.
    #[inline]
    pub(super) fn bytes(&self, slot: u32, case_sensitive: bool) -> Option<&[u8]> {
        let slot = self.slots.get(slot as usize)?;
        let (from, to) = if case_sensitive { slot.raw } else { slot.lower };
        // An absent one lies beyond all text.
        self.text.as_bytes().get(from as usize..to as usize)
    }

    /// How the value begins, in lower case; zero: the request has no such field.
    #[inline]
    pub(super) fn head(&self, slot: u32) -> u64 {
        self.slots.get(slot as usize).map_or(0, |slot| slot.head)
    }

    /// The value as an address, if a condition wants that and it is one.
    #[inline]
    pub(super) fn address(&self, slot: u32) -> Option<IpAddr> {
        self.slots.get(slot as usize)?.address
    }

    /// The pairs of bytes of the value in lower case, if a condition searches it.
    #[inline]
    pub(super) fn pairs(&self, slot: u32) -> Option<&Pairs> {
        self.pairs.get(self.slots.get(slot as usize)?.pairs? as usize)
    }

    fn put_some(&mut self, slot: u32, value: Option<&str>) {
        if let Some(value) = value {
            self.put(slot, value);
        }
    }

    /// Puts a value into those of the slots that have none.
    fn put_all(&mut self, slots: &[u32], value: &str) {
        let mut written = None;
        for slot in slots {
            let old = &mut self.slots[*slot as usize];
            if old.raw.0 != u32::MAX {
                continue;
            }
            if let Some(written) = written {
                *old = written;
            } else {
                self.put(*slot, value);
                written = Some(self.slots[*slot as usize]);
            }
        }
    }

    fn put_display(&mut self, slot: u32, value: &dyn std::fmt::Display) {
        let from = self.text.len();
        // Writing into a string cannot fail.
        let _ = write!(self.text, "{value}");
        let range = (from as u32, self.text.len() as u32);
        self.slots[slot as usize] = self.slot(range, range);
    }

    fn put(&mut self, slot: u32, value: &str) {
        let from = self.text.len();
        self.text.push_str(value);
        let raw = (from as u32, self.text.len() as u32);
        let mut lower = raw;
        if !value.is_ascii() {
            self.text.push_str(&value.to_lowercase());
            lower = (raw.1, self.text.len() as u32);
        } else if value.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.text.push_str(value);
            self.text[raw.1 as usize..].make_ascii_lowercase();
            lower = (raw.1, self.text.len() as u32);
        }
        self.slots[slot as usize] = self.slot(raw, lower);
    }

    fn slot(&self, raw: (u32, u32), lower: (u32, u32)) -> Slot {
        let head = first_bytes(&self.text.as_bytes()[lower.0 as usize..lower.1 as usize]);
        Slot { raw, lower, head, address: None, pairs: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &[&str], target: &str, headers: &[(&str, &str)]) -> Vec<Option<String>> {
        let mut fields = Fields::default();
        let slots: Vec<u32> =
            names.iter().map(|name| fields.slot(&Field::parse(name).unwrap(), Use::Text)).collect();
        let headers = headers.to_vec();
        let context = Context::new("192.168.1.7:5000".parse().unwrap(), target, &headers);
        let mut values = Values::default();
        // Twice, since nothing of an earlier request may be left.
        fields.read(
            &Context::new("1.2.3.4:5".parse().unwrap(), "/?a=old&lang=old", &vec![("B", "old")]),
            &mut values,
        );
        fields.read(&context, &mut values);
        slots.iter().map(|slot| values.get(*slot).map(str::to_owned)).collect()
    }

    fn check(name: &str, target: &str, headers: &[(&str, &str)], expected: Option<&str>) {
        assert_eq!(
            read(&[name], target, headers),
            [expected.map(str::to_owned)],
            "{name} {target} {headers:?}"
        );
    }

    #[test]
    fn every_namespace_is_read() {
        let headers = [
            ("Host", "Chat.Example.org:9090"),
            ("User-Agent", "Mozilla"),
            ("X-Tier", " vip "),
            ("X-Tier", "free"),
            ("Cookie", "plan=pro; theme=\"dark\"; plan=free"),
        ];
        let target = "/s/weather/ws?lang=fr&lang=de&q=a+b%21&session_id=s1&tag=x&tag=y&empty";
        for (name, expected) in [
            ("client_ip", Some("192.168.1.7")),
            ("client_port", Some("5000")),
            ("user_agent", Some("Mozilla")),
            ("path", Some("/s/weather/ws")),
            ("host", Some("Chat.Example.org")),
            ("header.host", Some("Chat.Example.org:9090")),
            ("session_id", Some("s1")),
            ("service", Some("weather")),
            ("tag", Some("x")),
            ("header.x-tier", Some("vip")),
            ("x-tier", Some("vip")),
            ("query.lang", Some("fr")),
            ("lang", Some("fr")),
            ("query.q", Some("a b!")),
            ("query.empty", Some("")),
            ("query.Lang", None),
            ("cookie.plan", Some("pro")),
            ("cookie.theme", Some("dark")),
            ("cookie.none", None),
            ("header.none", None),
            ("none", None),
        ] {
            check(name, target, &headers, expected);
        }
    }

    #[test]
    fn nothing_is_forged_across_namespaces() {
        let target = "/?client_ip=6.6.6.6&header.x-tier=vip&x-tier=vip&host=h&user_agent=u&user-agent=v&cookie.plan=pro&path=p";
        check(
            "client_ip",
            target,
            &[("client_ip", "6.6.6.6"), ("Client-IP", "6.6.6.6")],
            Some("192.168.1.7"),
        );
        check("header.x-tier", target, &[], None);
        check("host", target, &[], None);
        check("user_agent", target, &[], None);
        check("cookie.plan", target, &[("plan", "pro")], None);
        check("path", target, &[], Some("/"));
        check("service", "/", &[("service", "x")], None);
        check("x-tier", target, &[], Some("vip"));
        check("x-tier", target, &[("X-Tier", "free")], Some("free"));
        check("query.x-tier", target, &[("X-Tier", "free")], Some("vip"));
    }

    #[test]
    fn fields_of_one_name_share_what_was_read() {
        let read = read(&["lang", "query.lang", "header.lang"], "/?lang=fr", &[("Lang", "de")]);
        assert_eq!(read, [Some("de".to_owned()), Some("fr".to_owned()), Some("de".to_owned())]);
    }

    #[test]
    fn hosts_lose_their_port() {
        for (host, expected) in
            [("a:1", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a:b", "a:b")]
        {
            assert_eq!(without_port(host), expected);
        }
    }

    #[test]
    fn lower_case_and_addresses_are_beside_the_value() {
        let mut fields = Fields::default();
        let slot = fields.slot(&Field::parse("header.a").unwrap(), Use::Address);
        let mut values = Values::default();
        for (value, lower, address) in [
            ("ABC", "abc", None),
            ("abc", "abc", None),
            ("ÉÀ", "éà", None),
            ("2001:DB8::1", "2001:db8::1", Some("2001:db8::1")),
        ] {
            fields.read(&Context::new("1.2.3.4:5".parse().unwrap(), "/", &vec![("A", value)]), &mut values);
            let address = address.map(|address| address.parse::<IpAddr>().unwrap());
            assert_eq!(values.get(slot), Some(value));
            assert_eq!(values.bytes(slot, false), Some(lower.as_bytes()));
            assert_eq!(values.address(slot), address);
        }
        assert_eq!((values.get(7), values.address(7)), (None, None));
    }
}
