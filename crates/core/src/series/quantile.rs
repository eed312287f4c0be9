//! Quantiles from buckets.

/// The value below which a share `q` of what was counted is, as if each bucket were filled evenly: what Prometheus'
/// `histogram_quantile` says. What is beyond the last finite bound counts as that bound. None: nothing was counted.
pub(super) fn quantile(q: f64, bounds: &[f64], counts: &[i128]) -> Option<f64> {
    let total: i128 = counts.iter().sum();
    if total <= 0 {
        return None;
    }
    let rank = q * total as f64;
    let (mut below, mut lower) = (0_i128, 0.0);
    for (bound, count) in bounds.iter().zip(counts) {
        if (below + count) as f64 >= rank && *count > 0 {
            if bound.is_infinite() {
                return Some(lower);
            }
            return Some(lower + (bound - lower) * (rank - below as f64) / *count as f64);
        }
        below += count;
        lower = if bound.is_finite() { *bound } else { lower };
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_as_if_filled_evenly() {
        let bounds = [1.0, 2.0, 4.0, f64::INFINITY];
        let check = |q, counts: [i128; 4], expected: Option<f64>| {
            assert_eq!(quantile(q, &bounds, &counts), expected, "{q} of {counts:?}");
        };
        check(0.5, [0, 0, 0, 0], None);
        check(0.5, [10, 0, 0, 0], Some(0.5));
        check(0.9, [0, 10, 0, 0], Some(1.9));
        check(0.5, [5, 0, 5, 0], Some(1.0));
        check(0.75, [5, 0, 5, 0], Some(3.0));
        check(0.5, [0, 0, 0, 3], Some(4.0));
        check(0.99, [90, 5, 4, 1], Some(4.0));
        check(0.995, [90, 5, 4, 1], Some(4.0));
    }
}
