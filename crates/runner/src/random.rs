//! Random numbers for what need not be secret: jitter and identifiers.

use uuid::Uuid;

/// Uniform in `[0, 1)`.
pub(crate) fn fraction() -> f64 {
    // The low half of a version 4 UUID but its two variant bits; 52 of them fill a mantissa.
    let bits = Uuid::new_v4().as_u128() as u64 & ((1 << 52) - 1);
    bits as f64 / (1u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::fraction;

    #[test]
    fn fractions_fill_the_unit_interval() {
        let drawn: Vec<f64> = (0..1000).map(|_| fraction()).collect();
        assert!(drawn.iter().all(|value| (0.0..1.0).contains(value)));
        assert!(drawn.iter().any(|value| *value < 0.1) && drawn.iter().any(|value| *value > 0.9));
    }
}
