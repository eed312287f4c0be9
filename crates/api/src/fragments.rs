//! The JSON of each service, kept until its view changes: a list is then copied together instead of written anew.
//!
//! Bounded by the number of services: a list that is larger than all services would need drops what is gone.

use myagent_core::ServiceId;
use myagent_core::view::ServiceView;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// A view and its JSON.
type Fragment = (Arc<ServiceView>, Arc<[u8]>);

/// The JSON of services, by id.
#[derive(Default)]
pub(crate) struct Fragments(Mutex<HashMap<ServiceId, Fragment>>);

impl Fragments {
    /// Appends the JSON of `views` to `out`, with commas between. `all` is every service there is.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        views: &[Arc<ServiceView>],
        all: &[Arc<ServiceView>],
    ) -> serde_json::Result<()> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, view) in views.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            match known.get(&view.service_id) {
                Some((kept, json)) if Arc::ptr_eq(kept, view) => out.extend_from_slice(json),
                _ => {
                    let json: Arc<[u8]> = serde_json::to_vec(view)?.into();
                    out.extend_from_slice(&json);
                    known.insert(view.service_id, (Arc::clone(view), json));
                }
            }
        }
        if known.len() > all.len() {
            let ids: HashSet<ServiceId> = all.iter().map(|view| view.service_id).collect();
            known.retain(|id, _| ids.contains(id));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::services::tests::view;

    #[test]
    fn a_changed_view_is_written_anew_and_a_gone_one_forgotten() {
        let fragments = Fragments::default();
        let write = |views: &[Arc<ServiceView>]| {
            let mut out = Vec::new();
            fragments.write(&mut out, views, views).unwrap();
            String::from_utf8(out).unwrap()
        };
        let first = Arc::new(view("a", 1));
        let expected = serde_json::to_string(&first).unwrap();
        assert_eq!(write(&[Arc::clone(&first)]), expected);
        assert_eq!(write(&[Arc::clone(&first), Arc::new(view("b", 2))]).matches("\"name\":\"b\"").count(), 1);
        let mut changed = view("a", 1);
        changed.description = "new".to_owned();
        assert!(write(&[Arc::new(changed)]).contains("\"description\":\"new\""));
        assert_eq!(fragments.0.lock().unwrap().len(), 1);
    }
}
