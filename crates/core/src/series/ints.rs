//! A list of integers in few bits: the values or their differences, whichever is shorter; runs of the same as a run, others in
//! blocks of sixteen, each as wide as its widest.

use super::Unreadable;
use super::reader::{Reader, put_varint, unzigzag, zigzag};

/// Values of a block.
const BLOCK: usize = 16;
/// A run is worth it from so many on, or if it is all that is left.
const RUN: usize = 16;
/// A block's first byte is its width; this one begins a run.
const RUN_MARK: u8 = 0xff;
const PLAIN: u8 = 0;
const DIFFERENCES: u8 = 1;

/// Appends `values`; how many there are is known to the reader.
pub fn put(out: &mut Vec<u8>, values: &[i64]) {
    let Some((first, rest)) = values.split_first() else { return };
    let start = out.len();
    out.push(PLAIN);
    put_all(out, &values.iter().map(|value| zigzag(*value)).collect::<Vec<_>>());
    // Nothing is shorter than one run.
    if out.len() - start <= 4 {
        return;
    }
    let mut differences = vec![DIFFERENCES];
    put_varint(&mut differences, zigzag(*first));
    let steps = values.iter().zip(rest).map(|(before, value)| zigzag(value.wrapping_sub(*before)));
    put_all(&mut differences, &steps.collect::<Vec<_>>());
    if differences.len() < out.len() - start {
        out.truncate(start);
        out.append(&mut differences);
    }
}

fn put_all(out: &mut Vec<u8>, mut values: &[u64]) {
    while let Some(first) = values.first() {
        let run = values.iter().take_while(|value| *value == first).count();
        if run >= RUN || run == values.len() {
            out.push(RUN_MARK);
            put_varint(out, run as u64);
            put_varint(out, *first);
            values = &values[run..];
            continue;
        }
        let (block, rest) = values.split_at(BLOCK.min(values.len()));
        put_block(out, block);
        values = rest;
    }
}

fn put_block(out: &mut Vec<u8>, block: &[u64]) {
    let width = 64 - block.iter().fold(0, |bits, value| bits | value).leading_zeros();
    out.push(width as u8);
    let (mut bits, mut filled) = (0_u128, 0);
    for value in block {
        bits |= u128::from(*value) << filled;
        filled += width;
        while filled >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(bits as u8);
    }
}

/// Reads `count` values. Memory is what `count` says, whatever the bytes do.
pub(super) fn read(from: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Unreadable> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match from.byte()? {
        PLAIN => Ok(read_all(from, count)?.into_iter().map(unzigzag).collect()),
        DIFFERENCES => {
            let mut value = unzigzag(from.varint()?);
            let mut values = Vec::with_capacity(count);
            values.push(value);
            for step in read_all(from, count - 1)? {
                value = value.wrapping_add(unzigzag(step));
                values.push(value);
            }
            Ok(values)
        }
        _ => Err(Unreadable("a list is of an unknown kind")),
    }
}

/// Reads `count` values that are all of `bytes`.
pub fn get(bytes: &[u8], count: usize) -> Result<Vec<i64>, Unreadable> {
    let mut from = Reader(bytes);
    let values = read(&mut from, count)?;
    if from.is_empty() { Ok(values) } else { Err(Unreadable("a list is longer than it says")) }
}

fn read_all(from: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, Unreadable> {
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        let left = count - values.len();
        match from.byte()? {
            RUN_MARK => {
                let run = usize::try_from(from.varint()?).ok().filter(|run| (1..=left).contains(run));
                let run = run.ok_or(Unreadable("a run is longer than its list"))?;
                let value = from.varint()?;
                values.resize(values.len() + run, value);
            }
            width @ 0..=64 => read_block(from, u32::from(width), BLOCK.min(left), &mut values)?,
            _ => return Err(Unreadable("a block is of an unknown kind")),
        }
    }
    Ok(values)
}

fn read_block(from: &mut Reader<'_>, width: u32, count: usize, to: &mut Vec<u64>) -> Result<(), Unreadable> {
    let mut bytes = from.bytes((width as usize * count).div_ceil(8))?.iter();
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    let (mut bits, mut filled) = (0_u128, 0);
    for _ in 0..count {
        while filled < width {
            bits |= u128::from(bytes.next().copied().unwrap_or_default()) << filled;
            filled += 8;
        }
        to.push(bits as u64 & mask);
        bits >>= width;
        filled -= width;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn length(values: &[i64]) -> usize {
        let mut out = Vec::new();
        put(&mut out, values);
        assert_eq!(get(&out, values.len()).unwrap(), values);
        out.len()
    }

    #[test]
    fn what_does_not_change_costs_a_few_bytes_and_noise_as_many_bits_as_it_has() {
        assert_eq!((length(&[]), length(&[0; 360]), length(&[5; 6])), (0, 5, 4));
        assert!(length(&[1_000_000; 360]) <= 10);
        let steady: Vec<i64> = (0..360).map(|at| 1_000_000 + at * 7).collect();
        assert!(length(&steady) <= 10, "{}", length(&steady));
        let noise: Vec<i64> = (0..360).map(|at| (at * 7919) % 16).collect();
        assert!(length(&noise) <= 360 * 5 / 8 + 24, "{}", length(&noise));
        length(&[i64::MIN, i64::MAX, 0, -1, i64::MIN]);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            values in proptest::collection::vec(prop_oneof![Just(0_i64), -3_i64..3, 0_i64..100_000, any::<i64>()], 0..400),
            repeat in 1_usize..20,
        ) {
            let values: Vec<i64> = values.iter().flat_map(|value| std::iter::repeat_n(*value, repeat)).take(400).collect();
            let mut out = Vec::new();
            put(&mut out, &values);
            prop_assert_eq!(get(&out, values.len()).unwrap(), values);
        }

        #[test]
        fn other_bytes_are_refused_or_read_as_so_many_values(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0_usize..400,
        ) {
            if let Ok(values) = get(&bytes, count) {
                prop_assert_eq!(values.len(), count);
            }
        }
    }
}
