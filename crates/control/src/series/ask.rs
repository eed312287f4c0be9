//! Questions about the past.

use super::Statistics;
use super::memory::seal;
use crate::handle::{Handle, unknown_service};
use myagent_core::error::{Code, FieldError, Problem};
use myagent_core::series::segment::{gather, of_tier};
use myagent_core::series::{
    EntityKey, Evaluation, GroupBy, Label, Plan, Tier, TimeseriesQuery, TimeseriesView, decode, hour_of,
};
use myagent_core::{ServiceId, view::ServiceView};
use myagent_store::{SeriesStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Entities whose minutes are unpacked at once.
const BATCH: usize = 100;

/// Whose numbers are asked for.
pub(super) struct Selection {
    /// By id.
    pub(super) services: BTreeMap<ServiceId, Arc<ServiceView>>,
    /// Only this one.
    pub(super) instance: Option<u32>,
}

impl Selection {
    /// Instances that there are no more are in it as long as their service is: they are part of its past.
    fn has(&self, key: EntityKey, plan: &Plan) -> bool {
        self.services.contains_key(&key.service_id)
            && key.index.is_some() == plan.metric.per_instance
            && self.instance.is_none_or(|index| key.index == Some(index))
    }

    fn label(&self, key: EntityKey) -> Option<Label> {
        let service = self.services.get(&key.service_id)?.name.clone();
        Some(Label { instance: key.instance_name(&service), service })
    }

    /// Those that there are now.
    fn live(&self) -> impl Iterator<Item = EntityKey> {
        self.services.values().flat_map(|view| {
            let indices = view.instances.iter().map(|instance| Some(instance.index));
            indices.chain([None]).map(|index| EntityKey { service_id: view.service_id, index })
        })
    }
}

impl Handle {
    /// Statistics over time: what was measured until a few seconds ago.
    pub async fn timeseries(&self, query: TimeseriesQuery) -> Result<TimeseriesView, Problem> {
        let plan = query.plan(self.clock.now()).map_err(Problem::fields)?;
        let selection = self.selection(&query)?;
        let statistics = Arc::clone(&self.statistics);
        // Never closed.
        let _turn = self.statistics.questions.acquire().await;
        let answer = tokio::task::spawn_blocking(move || statistics.answer(plan, &selection));
        answer.await.map_err(|error| Problem::new(Code::Internal, format!("no answer was made: {error}")))?
    }

    fn selection(&self, query: &TimeseriesQuery) -> Result<Selection, Problem> {
        let of = |view: Arc<ServiceView>| BTreeMap::from([(view.service_id, view)]);
        let service = query.service.as_deref().map(|name| self.service(name)).transpose()?;
        let Some(instance) = &query.instance else {
            let all = || self.services().into_iter().map(|view| (view.service_id, view)).collect();
            return Ok(Selection { services: service.map_or_else(all, of), instance: None });
        };
        let wrong = |message: String| Problem::fields(vec![FieldError::new("instance", message)]);
        let parts = instance.rsplit_once('-').and_then(|(name, index)| Some((name, index.parse().ok()?)));
        let Some((name, index)) = parts else {
            return Err(wrong(format!("must be a service and a number as in weather-0, not {instance:?}")));
        };
        let view = self.services().into_iter().find(|view| view.name == name);
        let view = view.ok_or_else(|| {
            let names: Vec<_> = self.services().iter().map(|view| view.name.clone()).collect();
            unknown_service(name, names.iter().map(String::as_str))
        })?;
        if let Some(service) = service.filter(|service| service.service_id != view.service_id) {
            return Err(wrong(format!("is none of {}; leave one of them out", service.name)));
        }
        Ok(Selection { services: of(view), instance: Some(index) })
    }
}

impl Statistics {
    /// Blocking.
    pub(super) fn answer(&self, plan: Plan, selection: &Selection) -> Result<TimeseriesView, Problem> {
        // First: what goes from memory to the file meanwhile comes twice, which does no harm.
        let (mut segments, minutes) = self.memory().all();
        for slots in minutes {
            let first = slots.first().map_or(0, |slot| slot.start);
            segments.push((first, seal(&slots).into()));
        }
        let store = self.store();
        let (stored, mut warning) = match store.as_ref().map(|store| store.entities()) {
            None => {
                (Vec::new(), Some("the file of statistics is not open; see the manager's log".to_owned()))
            }
            Some(Ok(entities)) => (entities, None),
            Some(Err(error)) => (Vec::new(), Some(error.to_string())),
        };
        let mut wanted: BTreeSet<EntityKey> = stored.into_iter().chain(selection.live()).collect();
        wanted.retain(|key| selection.has(*key, &plan));
        check_size(&plan, &wanted)?;
        let mut evaluation = Evaluation::new(plan);
        if let (Some(store), None) = (store, &warning) {
            warning = from_store(&store, &mut evaluation, &wanted).err().map(|error| error.to_string());
        }
        from_memory(&segments, &mut evaluation, &wanted);
        let labels = wanted.iter().filter_map(|key| Some((*key, selection.label(*key)?))).collect();
        let mut answer = evaluation.finish(&labels);
        answer.warning = warning.map(|cause| format!("only what is in memory is shown: {cause}"));
        Ok(answer)
    }
}

fn check_size(plan: &Plan, wanted: &BTreeSet<EntityKey>) -> Result<(), Problem> {
    let series = match plan.group_by {
        GroupBy::None => 1,
        GroupBy::Service => wanted.iter().map(|key| key.service_id).collect::<BTreeSet<_>>().len(),
        GroupBy::Instance => wanted.len(),
    };
    plan.check_size(wanted.len(), series).map_err(Problem::fields)
}

fn from_store(
    store: &SeriesStore,
    evaluation: &mut Evaluation,
    wanted: &BTreeSet<EntityKey>,
) -> Result<(), StoreError> {
    let plan = *evaluation.plan();
    let windows = (plan.tier.window(plan.from), plan.tier.window(plan.to - 1));
    store.chunks(plan.tier, windows, wanted, |entity, window, data| {
        match decode(data, plan.tier, |column| plan.metric.columns().contains(&column)) {
            Ok(columns) => evaluation.take(entity, window * plan.tier.chunk(), &columns),
            Err(error) => tracing::warn!(%error, ?entity, window, tier = ?plan.tier, "a chunk of statistics is left out"),
        }
    })
}

/// Some entities at a time, as everybody's hours would take much memory when they are unpacked.
fn from_memory(segments: &[(i64, Arc<[u8]>)], evaluation: &mut Evaluation, wanted: &BTreeSet<EntityKey>) {
    let plan = *evaluation.plan();
    let mut hours: BTreeMap<i64, Vec<(i64, &[u8])>> = BTreeMap::new();
    for (start, data) in segments {
        let hour = hour_of(*start);
        if hour < plan.to && hour + Tier::Hours.step() > plan.from {
            hours.entry(hour).or_default().push((*start, data));
        }
    }
    let wanted: Vec<EntityKey> = wanted.iter().copied().collect();
    for (hour, segments) in hours {
        let first = plan.tier.window(hour) * plan.tier.chunk();
        for batch in wanted.chunks(BATCH) {
            let mut entities = BTreeMap::new();
            for (start, data) in &segments {
                let is_wanted = |key: EntityKey| batch.binary_search(&key).is_ok();
                let is_asked_for = |column| plan.metric.columns().contains(&column);
                if let Err(error) = gather(data, hour, &mut entities, is_wanted, is_asked_for) {
                    tracing::warn!(%error, start, "a minute of statistics is left out");
                }
            }
            for (entity, slots) in entities {
                evaluation.take(entity, first, &of_tier(&slots, hour, plan.tier));
            }
        }
    }
}
