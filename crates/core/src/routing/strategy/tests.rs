//! Each strategy alone: whom it takes, and that it spreads as it says.

use super::*;
use crate::routing::hash::{hash, mix};
use std::collections::BTreeMap;
use std::sync::LazyLock;

fn candidate(index: u32) -> Candidate {
    Candidate {
        index,
        active: 0,
        weight: 1,
        share: 1.0,
        free: UNLIMITED,
        rank: UNLISTED,
        matches: 0,
        parts: 0,
    }
}

static SEEDS: LazyLock<Vec<u64>> = LazyLock::new(|| (0..1000).map(|index: u64| mix(index + 77)).collect());

fn weighted(weights: &[u32]) -> Vec<Candidate> {
    weights
        .iter()
        .zip(0..)
        .map(|(weight, index)| Candidate { weight: *weight, share: *weight as f32, ..candidate(index) })
        .collect()
}

fn with_active(active: &[u32]) -> Vec<Candidate> {
    active.iter().zip(0..).map(|(active, index)| Candidate { active: *active, ..candidate(index) }).collect()
}

fn select(
    strategy: Strategy,
    candidates: &[Candidate],
    tick: u64,
    random: u64,
    key: Option<u64>,
) -> Option<usize> {
    strategy.select(candidates, &Inputs { tick: &|| tick, random, key, seeds: &SEEDS, latency: &|_| None })
}

/// How often each is taken in `count` choices with tick, random number and key of their own.
fn counts(strategy: Strategy, candidates: &[Candidate], count: u64) -> Vec<u64> {
    let mut counts = vec![0; candidates.len()];
    for number in 0..count {
        let random = mix(number);
        counts[select(strategy, candidates, number, random, Some(mix(random))).unwrap()] += 1;
    }
    counts
}

fn assert_near(counts: &[u64], shares: &[f64]) {
    let (total, weights): (u64, f64) = (counts.iter().sum(), shares.iter().sum());
    for (count, share) in counts.iter().zip(shares) {
        let expected = total as f64 * share / weights;
        // Six standard deviations: one false alarm in a billion.
        let bound = 6.0 * (expected * (1.0 - share / weights)).sqrt() + 1.0;
        assert!((*count as f64 - expected).abs() < bound, "{counts:?} is not {shares:?}");
    }
}

#[test]
fn nobody_is_chosen_from_nobody() {
    for strategy in Strategy::ALL {
        assert_eq!(select(strategy, &[], 5, 5, Some(5)), None);
        let one = [Candidate { rank: 0, ..candidate(3) }];
        assert_eq!(select(strategy, &one, 5, u64::MAX, Some(5)), Some(0));
    }
}

#[test]
fn names_are_read_and_written() {
    for strategy in Strategy::ALL {
        assert_eq!(strategy.to_string().parse(), Ok(strategy));
        assert_eq!(serde_json::to_value(strategy).unwrap(), strategy.as_str());
    }
    assert!("fastest".parse::<Strategy>().unwrap_err().contains("performance_based"));
}

#[test]
fn round_robin_is_exact() {
    let order = |candidates: &[Candidate], ticks: std::ops::Range<u64>| -> Vec<usize> {
        ticks.map(|tick| select(Strategy::RoundRobin, candidates, tick, 0, None).unwrap()).collect()
    };
    assert_eq!(order(&weighted(&[1, 1, 1]), 0..6), [0, 1, 2, 0, 1, 2]);
    assert_eq!(order(&weighted(&[4, 4]), 3..6), [1, 0, 1]);
    for weights in
        [&[1, 3][..], &[5, 1, 1], &[1000, 1], &[2, 3, 5, 7], &[7; 5], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]
    {
        let candidates = weighted(weights);
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        for start in [0, 17, u64::MAX / total * total - total] {
            let mut counts = vec![0; weights.len()];
            for place in order(&candidates, start..start + total) {
                counts[place] += 1;
            }
            assert_eq!(counts, weights.to_vec(), "{start}");
        }
    }
}

#[test]
fn round_robin_is_smooth() {
    for weights in [&[1, 3][..], &[5, 1, 1], &[10, 10, 20, 60], &[100, 1, 1, 1]] {
        let candidates = weighted(weights);
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let mut counts = vec![0.0; weights.len()];
        for tick in 0..1000_u64 {
            counts[select(Strategy::RoundRobin, &candidates, tick, 0, None).unwrap()] += 1.0;
            for (count, weight) in counts.iter().zip(weights) {
                let due = (tick + 1) as f64 * f64::from(*weight) / total;
                assert!((count - due).abs() < 3.0, "{weights:?} at {tick}: {counts:?}");
            }
        }
    }
}

#[test]
fn who_is_new_gets_less() {
    let mut candidates = weighted(&[1, 1]);
    candidates[1].share = 0.1;
    let taken = counts(Strategy::RoundRobin, &candidates, 1100);
    assert_eq!(taken, [1000, 100]);
    assert_near(&counts(Strategy::WeightedRandom, &candidates, 11_000), &[10.0, 1.0]);
    candidates[0].active = 5;
    assert_eq!(
        select(Strategy::LeastConnections, &candidates, 0, 0, None),
        Some(0),
        "six is less than one in a tenth"
    );
    candidates[0].active = 10;
    assert_eq!(select(Strategy::LeastConnections, &candidates, 0, 0, None), Some(1));
}

#[test]
fn least_connections_takes_the_idlest_and_rotates() {
    let taken = |active: &[u32], tick| {
        select(Strategy::LeastConnections, &with_active(active), tick, 0, None).unwrap()
    };
    assert_eq!(taken(&[3, 1, 2], 7), 1);
    assert_eq!((0..6).map(|tick| taken(&[1, 1, 5, 1], tick)).collect::<Vec<_>>(), [0, 1, 3, 0, 1, 3]);
    let mut heavy = weighted(&[1, 4]);
    (heavy[0].active, heavy[1].active) = (1, 5);
    assert_eq!(select(Strategy::LeastConnections, &heavy, 0, 0, None), Some(1));
}

#[test]
fn weighted_random_goes_by_weight_else_by_free_places() {
    assert_near(&counts(Strategy::WeightedRandom, &weighted(&[1, 2, 7]), 20_000), &[1.0, 2.0, 7.0]);
    assert_near(&counts(Strategy::WeightedRandom, &weighted(&[1, 1]), 20_000), &[1.0, 1.0]);
    let mut limited = weighted(&[2, 2, 2]);
    (limited[0].free, limited[1].free, limited[2].free) = (1, 3, 6);
    assert_near(&counts(Strategy::WeightedRandom, &limited, 20_000), &[1.0, 3.0, 6.0]);
    limited[2].free = UNLIMITED;
    assert_near(&counts(Strategy::WeightedRandom, &limited, 20_000), &[1.0, 1.0, 1.0]);
    assert_eq!(select(Strategy::WeightedRandom, &limited, 0, u64::MAX, None), Some(2));
}

#[test]
fn hashing_spreads_by_weight_and_stays() {
    assert_near(&counts(Strategy::HashBased, &weighted(&[1; 10]), 20_000), &[1.0; 10]);
    assert_near(&counts(Strategy::HashBased, &weighted(&[1, 2, 7]), 20_000), &[1.0, 2.0, 7.0]);
    assert_near(&counts(Strategy::HashBased, &weighted(&[7, 2, 1, 7]), 20_000), &[7.0, 2.0, 1.0, 7.0]);
    let candidates = weighted(&[1, 2, 3]);
    let key = Some(hash(b"192.168.1.7"));
    let first = select(Strategy::HashBased, &candidates, 0, 0, key);
    assert!((1..50).all(|tick| select(Strategy::HashBased, &candidates, tick, mix(tick), key) == first));
    assert_eq!(select(Strategy::HashBased, &candidates, 0, 0, None), None);
}

#[test]
fn hashing_bounds_the_load() {
    // All clients have the same key; connections stay open.
    let mut candidates = weighted(&[1; 10]);
    let mut most = 0;
    for number in 1..=1000_u64 {
        let place = select(Strategy::HashBased, &candidates, 0, 0, Some(7)).unwrap();
        candidates[place].active += 1;
        most = candidates.iter().map(|candidate| candidate.active).max().unwrap();
        let bound = (number as f64 / 10.0 * 1.25).ceil().max(8.0);
        assert!(f64::from(most) <= bound, "{most} of {number}");
    }
    assert_eq!(most, 125);
    let used = candidates.iter().filter(|candidate| candidate.active > 0).count();
    assert_eq!(used, 8, "and no further than it must");
}

#[test]
fn tag_based_takes_the_best_match() {
    let mut candidates = with_active(&[0, 5, 3, 3]);
    for (candidate, matches) in candidates.iter_mut().zip([1, 2, 2, 2]) {
        candidate.matches = matches;
    }
    assert_eq!(
        (0..3)
            .map(|tick| select(Strategy::TagBased, &candidates, tick, 0, None).unwrap())
            .collect::<Vec<_>>(),
        [2, 3, 2]
    );
}

#[test]
fn manual_takes_the_first_of_the_list() {
    let mut candidates = with_active(&[0, 9, 0]);
    assert_eq!(select(Strategy::Manual, &candidates, 0, 0, None), None);
    (candidates[1].rank, candidates[2].rank) = (1, 2);
    assert_eq!(select(Strategy::Manual, &candidates, 0, 0, None), Some(1));
    candidates[2].rank = 0;
    assert_eq!(select(Strategy::Manual, &candidates, 0, 0, None), Some(2));
}

#[test]
fn performance_takes_the_quicker_of_two() {
    let taken = |candidates: &[Candidate], latencies: &[Option<f64>]| {
        let mut counts = BTreeMap::new();
        for number in 0..3000_u64 {
            let inputs = Inputs {
                tick: &|| 0,
                random: mix(number),
                key: None,
                seeds: &SEEDS,
                latency: &|index| latencies[index as usize],
            };
            *counts.entry(Strategy::PerformanceBased.select(candidates, &inputs).unwrap()).or_insert(0) += 1;
        }
        counts
    };
    let two = taken(&with_active(&[0, 0]), &[Some(5e6), Some(9e6)]);
    assert_eq!(two, BTreeMap::from([(0, 3000)]));
    assert_eq!(
        taken(&with_active(&[3, 0]), &[Some(5e6), Some(9e6)]),
        BTreeMap::from([(1, 3000)]),
        "load counts"
    );
    let three = taken(&with_active(&[0; 3]), &[Some(1e6), Some(2e6), Some(3e6)]);
    assert!(three[&0] > 1800 && three[&1] > 800 && !three.contains_key(&2), "{three:?}");
    // An idle newcomer is tried, a busy one of unknown speed is not flooded.
    assert_eq!(taken(&with_active(&[0, 0]), &[Some(5e6), None]), BTreeMap::from([(1, 3000)]));
    assert_eq!(taken(&with_active(&[0, 1]), &[Some(5e6), None]), BTreeMap::from([(0, 3000)]));
}

mod properties {
    use super::{Candidate, Strategy, candidate, mix, select, weighted};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    proptest! {
        /// When an instance comes, only the keys move that it takes: its part of all, and at most 5 % besides.
        #[test]
        fn an_instance_that_comes_moves_few_keys(
            weights in proptest::collection::vec(1_u32..5, 1..20), new in 1_u32..5, salt in any::<u64>(),
        ) {
            let candidates = weighted(&weights);
            let mut more = candidates.clone();
            let index = weights.len() as u32;
            more.insert(salt as usize % more.len(), Candidate { weight: new, share: new as f32, ..candidate(index) });
            let taken = |candidates: &[Candidate], key: u64| {
                candidates[select(Strategy::HashBased, candidates, 0, 0, Some(key)).unwrap()].index
            };
            let mut moved = 0;
            for key in (0..4000).map(|key: u64| mix(key ^ salt)) {
                let (before, after) = (taken(&candidates, key), taken(&more, key));
                if before != after {
                    prop_assert_eq!(after, index, "a key moves to the newcomer only");
                    moved += 1;
                }
            }
            let part = f64::from(new) / f64::from(weights.iter().sum::<u32>() + new);
            prop_assert!(f64::from(moved) / 4000.0 <= part + 0.05, "{} moved, {} are its part", moved, part);
        }

        /// Whoever it is, it is one of the candidates.
        #[test]
        fn every_strategy_chooses_a_candidate(
            candidates in proptest::collection::vec(
                (0..1000_u32, 1..1000_u32, 0.1_f32..=1.0, 1..100_u32, 0..4_u16, 0..3_u16), 1..40),
            tick in any::<u64>(), random in any::<u64>(), key in any::<u64>(),
        ) {
            let candidates: Vec<_> = candidates.into_iter().zip(0..)
                .map(|((active, weight, warmth, free, rank, matches), index)| Candidate {
                    active, weight, share: weight as f32 * warmth, free, rank, matches, ..candidate(index)
                })
                .collect();
            for strategy in Strategy::ALL {
                let place = select(strategy, &candidates, tick, random, Some(key));
                prop_assert!(place.is_some_and(|place| place < candidates.len()), "{strategy}");
            }
        }
    }
}
