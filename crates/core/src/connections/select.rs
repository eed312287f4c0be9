//! Which connections, in which order, and which page of them.

use super::{Connections, Row};
use crate::ids::{ConnectionId, ServiceId};
use crate::view::{ConnectionStatus, ConnectionView, Page};
use jiff::Timestamp;
use std::cmp::Ordering;
use std::net::IpAddr;

/// Which connections; what is not given does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this service.
    pub service: Option<ServiceId>,
    /// Of the instance of this name.
    pub instance: Option<String>,
    /// In one of these states.
    pub status: Option<Vec<ConnectionStatus>>,
    /// Routed by the rule of this name.
    pub rule: Option<String>,
    /// From this address.
    pub client_ip: Option<IpAddr>,
    /// With this session.
    pub session_id: Option<String>,
    /// With this text in an id, the address, the user agent, the instance or the rule, in any case.
    pub search: Option<String>,
    /// Behind this one in the order by id; it may be closed meanwhile.
    pub after: Option<ConnectionId>,
}

/// What a list is sorted by. Equal ones are sorted by id, so that pages fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Place in [`FIELDS`].
    field: usize,
    backwards: bool,
}

type Compare = fn(&Row, &Row) -> Ordering;

/// What can be sorted by.
const FIELDS: &[(&str, Compare)] = &[
    // Ids are given in the order of time.
    ("connection_id", |a, b| a.connection.connection_id.cmp(&b.connection.connection_id)),
    ("connected_at", |a, b| a.connection.connected_at.cmp(&b.connection.connected_at)),
    ("last_activity", |a, b| a.connection.last_activity.cmp(&b.connection.last_activity)),
    ("bytes_sent", |a, b| a.connection.bytes_out.cmp(&b.connection.bytes_out)),
    ("bytes_received", |a, b| a.connection.bytes_in.cmp(&b.connection.bytes_in)),
    ("message_count", |a, b| a.messages().cmp(&b.messages())),
    ("client_ip", |a, b| {
        let key = |row: &Row| (row.connection.client.ip().to_canonical(), row.connection.client.port());
        key(a).cmp(&key(b))
    }),
    ("instance", |a, b| {
        let key = |row: &Row| (row.service().len(), row.owner.index);
        a.service().cmp(b.service()).then_with(|| key(a).cmp(&key(b)))
    }),
    ("rule", |a, b| a.connection.rule.cmp(&b.connection.rule)),
];

impl Default for Order {
    /// The newest first.
    fn default() -> Self {
        Self { field: 0, backwards: true }
    }
}

impl Order {
    /// By a field; `-` before it: backwards. The error names the fields there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, backwards) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let known = || FIELDS.iter().map(|(field, _)| *field).collect::<Vec<_>>().join(", ");
        let field = FIELDS.iter().position(|(field, _)| *field == name);
        let field = field.ok_or_else(|| format!("{name:?} is not one of {}", known()))?;
        Ok(Self { field, backwards })
    }

    /// Whether it is by id, which is what [`Filter::after`] needs.
    pub fn is_by_id(self) -> bool {
        self.field == 0
    }

    fn compare(self, a: &Row, b: &Row) -> Ordering {
        let order = (FIELDS[self.field].1)(a, b);
        let order = if self.backwards { order.reverse() } else { order };
        order.then_with(|| a.connection.connection_id.cmp(&b.connection.connection_id))
    }
}

impl Connections {
    /// A page of those that are wanted. Only what is on it is copied, and only what is up to its end is sorted.
    pub fn page(
        &self,
        filter: &Filter,
        order: Order,
        (limit, offset): (usize, usize),
        now: Timestamp,
    ) -> Page<ConnectionView> {
        let wanted = Wanted::new(filter);
        let mut rows: Vec<&Row> = match filter.service {
            // What an instance has is listed; what is on its way is not.
            Some(service) if self.moving.is_empty() => {
                let instances = self.instances.iter().filter(|(key, _)| key.service_id == service);
                let ids = instances.flat_map(|(_, instance)| &instance.open);
                ids.filter_map(|id| self.rows.get(id).map(Box::as_ref))
                    .filter(|row| wanted.is_met(row, now))
                    .collect()
            }
            _ => self.rows.values().map(Box::as_ref).filter(|row| wanted.is_met(row, now)).collect(),
        };
        let total = rows.len();
        let mut before = 0;
        if let Some(after) = filter.after {
            rows.retain(|row| match row.connection.connection_id.cmp(&after) {
                Ordering::Less => order.backwards,
                Ordering::Equal => false,
                Ordering::Greater => !order.backwards,
            });
            before = total - rows.len();
        }
        let end = offset.saturating_add(limit);
        let compare = |a: &&Row, b: &&Row| order.compare(a, b);
        if end < rows.len() {
            rows.select_nth_unstable_by(end, compare);
            rows.truncate(end);
        }
        rows.sort_unstable_by(compare);
        let items: Vec<_> = rows.iter().skip(offset).map(|row| row.view(now)).collect();
        let offset = before.saturating_add(offset);
        let has_more = offset.saturating_add(items.len()) < total;
        Page { items, total, limit, offset, has_more }
    }
}

/// A filter with its texts prepared.
struct Wanted<'a> {
    filter: &'a Filter,
    search: Option<String>,
}

impl<'a> Wanted<'a> {
    fn new(filter: &'a Filter) -> Self {
        Self { filter, search: filter.search.as_ref().map(|text| text.to_lowercase()) }
    }

    fn is_met(&self, row: &Row, now: Timestamp) -> bool {
        let (filter, connection) = (self.filter, &row.connection);
        filter.service.is_none_or(|id| id == row.owner.service_id)
            && filter.instance.as_ref().is_none_or(|name| **name == *row.instance)
            && filter.status.as_ref().is_none_or(|states| states.contains(&row.status(now)))
            && filter.rule.as_ref().is_none_or(|rule| connection.rule.as_ref() == Some(rule))
            && filter.client_ip.is_none_or(|ip| ip.to_canonical() == connection.client.ip().to_canonical())
            && filter.session_id.as_ref().is_none_or(|id| connection.session_id.as_ref() == Some(id))
            && self.search.as_ref().is_none_or(|text| row.has(text))
            && row.is_there(now)
    }
}

impl Row {
    fn messages(&self) -> u64 {
        self.connection.messages_in.saturating_add(self.connection.messages_out)
    }

    fn service(&self) -> &str {
        self.instance.rsplit_once('-').map_or(&*self.instance, |(service, _)| service)
    }

    /// Whether a lower-case text is somewhere in it.
    fn has(&self, text: &str) -> bool {
        let connection = &self.connection;
        let texts = [
            connection.session_id.as_deref(),
            connection.user_agent.as_deref(),
            connection.rule.as_deref(),
            Some(&*self.instance),
        ];
        texts.into_iter().flatten().any(|one| one.to_lowercase().contains(text))
            || connection.connection_id.to_string().contains(text)
            || connection.client.ip().to_canonical().to_string().contains(text)
    }
}
