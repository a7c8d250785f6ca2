//! A sum as bytes: how a worker hands it over and a snapshot keeps it.
//!
//! Little-endian: "TRIBSUM1", length u64, bits u32, weight u64; then for each block its bound u128, its width in bytes u8 (8
//! or 16, 0 where nothing was folded) and its values. Whoever stores it adds a digest; here only what arithmetic relies on is checked.

use std::io::{Read, Write};

use super::block::{Block, Lanes};
use super::{BITS_MAX, BLOCK, Error, Sum, WEIGHT_TOTAL_MAX};

const MAGIC: &[u8; 8] = b"TRIBSUM1";

impl Sum {
    /// Writes the whole state.
    ///
    /// # Errors
    /// The writer's own.
    pub fn write_to(&self, out: &mut impl Write) -> Result<(), Error> {
        out.write_all(MAGIC)?;
        out.write_all(&(self.len as u64).to_le_bytes())?;
        out.write_all(&self.bits.to_le_bytes())?;
        out.write_all(&self.weight.to_le_bytes())?;
        let mut bytes = Vec::with_capacity(16 * BLOCK + 17);
        for block in &self.blocks {
            bytes.clear();
            bytes.extend_from_slice(&block.bound.to_le_bytes());
            match &block.lanes {
                Lanes::Narrow(lanes) => {
                    bytes.push(8);
                    lanes.iter().for_each(|lane| bytes.extend_from_slice(&lane.to_le_bytes()));
                }
                Lanes::Wide(lanes) => {
                    bytes.push(16);
                    lanes.iter().for_each(|lane| bytes.extend_from_slice(&lane.to_le_bytes()));
                }
                Lanes::Zeros(_) => bytes.push(0),
            }
            out.write_all(&bytes)?;
        }
        Ok(())
    }

    /// Reads what [`Sum::write_to`] wrote, of a sum of `len` coordinates. Memory grows with what really arrives, a block at
    /// a time.
    ///
    /// # Errors
    /// Not a saved sum, one of another length, cut short, or values that no updates within the limits could have made.
    pub fn read_from(input: &mut impl Read, len: usize) -> Result<Self, Error> {
        if read::<8>(input)? != *MAGIC {
            return Err(Error::StateBroken("it does not begin like one"));
        }
        if u64::from_le_bytes(read(input)?) != len as u64 {
            return Err(Error::StateBroken("it has another length than the model"));
        }
        let bits = u32::from_le_bytes(read(input)?);
        let weight = u64::from_le_bytes(read(input)?);
        if bits > BITS_MAX || weight > WEIGHT_TOTAL_MAX {
            return Err(Error::StateBroken("its resolution or weight is beyond the limit"));
        }
        // What updates of this total weight can reach: weight · 2^32 · 2^bits.
        let value_max = u128::from(weight) << (32 + bits);
        let mut blocks = Vec::new();
        for at in (0..len).step_by(BLOCK) {
            let block = read_block(input, BLOCK.min(len - at))?;
            if !block.is_consistent() || (0..block.len()).any(|i| block.at(i).unsigned_abs() > value_max) {
                return Err(Error::StateBroken("a value is beyond its bound"));
            }
            blocks.push(block);
        }
        Ok(Self { len, bits, weight, blocks })
    }
}

fn read_block(input: &mut impl Read, len: usize) -> Result<Block, Error> {
    let bound = u128::from_le_bytes(read(input)?);
    let [width] = read(input)?;
    let mut bytes = vec![0; len * usize::from(width.min(16))];
    input.read_exact(&mut bytes)?;
    let lanes = match width {
        0 => Lanes::Zeros(len),
        8 => Lanes::Narrow(bytes.as_chunks().0.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect()),
        16 => Lanes::Wide(bytes.as_chunks().0.iter().map(|chunk| i128::from_le_bytes(*chunk)).collect()),
        _ => return Err(Error::StateBroken("a block has neither 8 nor 16 bytes a value")),
    };
    Ok(Block { lanes, bound })
}

fn read<const SIZE: usize>(input: &mut impl Read) -> Result<[u8; SIZE], Error> {
    let mut bytes = [0; SIZE];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sum::Weight;

    fn saved() -> (Sum, Vec<u8>) {
        let mut sum = Sum::new(BLOCK + 3, 40).unwrap();
        let mut update = vec![0.25_f32; BLOCK + 3];
        update[7] = -4e9;
        sum.add(&update, Weight::new(1_000_000).unwrap()).unwrap();
        assert_eq!(sum.wide_blocks(), 1);
        let mut bytes = Vec::new();
        sum.write_to(&mut bytes).unwrap();
        (sum, bytes)
    }

    #[test]
    fn saved_sum_reads_back_equal_and_goes_on_alike() {
        let (mut sum, bytes) = saved();
        let mut back = Sum::read_from(&mut bytes.as_slice(), sum.len()).unwrap();
        assert_eq!(back, sum);
        let update = vec![0.1_f64; sum.len()];
        sum.add(&update, Weight::ONE).unwrap();
        back.add(&update, Weight::ONE).unwrap();
        assert_eq!(back.digest(), sum.digest());
    }

    #[test]
    fn broken_saved_sums_are_refused() {
        let (sum, bytes) = saved();
        let read = |bytes: &[u8]| Sum::read_from(&mut &bytes[..], sum.len());
        for cut in [0, 7, 27, 28, 60, bytes.len() - 1] {
            assert!(read(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Sum::read_from(&mut bytes.as_slice(), sum.len() + 1).is_err());
        // Magic, length, resolution, weight, and the first block's bound, width and a value's highest byte.
        for at in [0, 8, 16, 26, 28, 44, 45 + 15] {
            let mut broken = bytes.clone();
            broken[at] ^= 0x40;
            let result = read(&broken);
            assert!(result.is_err() || at == 26 || at == 28, "byte {at}");
        }
    }
}
