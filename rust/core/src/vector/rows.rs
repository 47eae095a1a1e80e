//! The rows of a matrix: blocks of a bounded size, so that growing neither copies nor doubles the footprint.

use super::costs::Costs;
use super::kernel::{Kernel, LINE, Line};
use super::keymap::KeyMap;
use super::quantise::{inverse_norm, lines, signs};
use crate::CoreError;

/// Rows of a block. A power of two, so that a row's place is a shift and a mask.
pub(super) const BLOCK: usize = 4096;

/// Rows for which a block makes room at first.
const ROOM_MIN: usize = 16;

const DIM_MAX: usize = 4096;
const DIM_STEP: usize = 16;

/// Up to [`BLOCK`] rows, field by field, for a scan reads one field of many rows.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) keys: Vec<i64>,
    pub(super) inverse_norms: Vec<f32>,
    pub(super) lines: Vec<Line>,
    /// The signs of the components, one word a line.
    pub(super) bits: Vec<u64>,
}

impl Block {
    fn bytes(&self) -> usize {
        self.keys.capacity() * size_of::<i64>()
            + self.inverse_norms.capacity() * size_of::<f32>()
            + self.lines.capacity() * size_of::<Line>()
            + self.bits.capacity() * size_of::<u64>()
    }

    /// Makes room for a row. Doubles up to a whole block, and not beyond it.
    fn reserve(&mut self, width: usize) {
        let rows = self.keys.len();
        if rows == self.keys.capacity() {
            let more = rows.max(ROOM_MIN).min(BLOCK - rows);
            self.keys.reserve_exact(more);
            self.inverse_norms.reserve_exact(more);
            self.lines.reserve_exact(more * width);
            self.bits.reserve_exact(more * width);
        }
    }

    fn pop(&mut self, width: usize) {
        self.keys.pop();
        self.inverse_norms.pop();
        self.lines.truncate(self.keys.len() * width);
        self.bits.truncate(self.keys.len() * width);
    }
}

/// int8 vectors by key. Not synchronised: whoever shares it brings the lock.
///
/// A removed row is replaced by the last one, so that there is nothing to skip and nothing to compact.
#[derive(Debug)]
pub struct Matrix {
    dim: usize,
    /// Lines of a row.
    pub(super) width: usize,
    pub(super) blocks: Vec<Block>,
    pub(super) map: KeyMap,
    pub(super) kernel: Kernel,
    pub(super) costs: Costs,
}

impl Matrix {
    /// An empty matrix.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] if `dim` is no multiple of 16 up to 4,096.
    pub fn new(dim: usize) -> Result<Self, CoreError> {
        if dim == 0 || dim > DIM_MAX || !dim.is_multiple_of(DIM_STEP) {
            let problem = format!("must be a multiple of {DIM_STEP} up to {DIM_MAX}, not {dim}");
            return Err(CoreError::invalid("dim", problem));
        }
        let width = dim.div_ceil(LINE);
        Ok(Self {
            dim,
            width,
            blocks: Vec::new(),
            map: KeyMap::default(),
            kernel: Kernel::best(),
            costs: Costs::of_width(width),
        })
    }

    /// Components of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        let full = self.blocks.len().saturating_sub(1) * BLOCK;
        self.blocks.last().map_or(0, |last| full + last.keys.len())
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the rows and their index take.
    pub fn bytes(&self) -> usize {
        self.map.bytes() + self.blocks.iter().map(Block::bytes).sum::<usize>()
    }

    /// What the ways of searching cost, see [`Self::set_costs`].
    pub fn costs(&self) -> Costs {
        self.costs
    }

    /// Lets [`Self::search`] choose by costs that were measured on this machine.
    pub fn set_costs(&mut self, costs: Costs) {
        self.costs = costs;
    }

    /// Takes or replaces rows, one for each key; returns how many keys are new.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] if `rows` is not `dim` bytes for each key, or there would be 2^32 rows.
    pub fn put(&mut self, keys: &[i64], rows: &[i8]) -> Result<usize, CoreError> {
        if Some(rows.len()) != keys.len().checked_mul(self.dim) {
            let problem = format!(
                "must be {} bytes for each of {} keys, not {}",
                self.dim,
                keys.len(),
                rows.len()
            );
            return Err(CoreError::invalid("rows", problem));
        }
        if self.len() + keys.len() >= u32::MAX as usize {
            return Err(CoreError::invalid("keys", "are too many rows for one matrix"));
        }
        let before = self.len();
        for (key, row) in keys.iter().zip(rows.chunks_exact(self.dim)) {
            match self.map.get(*key) {
                Some(known) => self.overwrite(known, row),
                None => self.append(*key, row),
            }
        }
        Ok(self.len() - before)
    }

    /// Removes rows; returns how many of the keys were there.
    pub fn remove(&mut self, keys: &[i64]) -> usize {
        keys.iter().filter(|key| self.remove_one(**key).is_some()).count()
    }

    /// Removes every row and gives their bytes back; returns how many bytes that were.
    pub fn clear(&mut self) -> usize {
        let freed = self.bytes();
        self.blocks = Vec::new();
        self.map = KeyMap::default();
        freed
    }

    fn append(&mut self, key: i64, row: &[i8]) {
        if self.blocks.last().is_none_or(|last| last.keys.len() == BLOCK) {
            self.blocks.push(Block::default());
        }
        #[expect(clippy::cast_possible_truncation, reason = "put() bounds the rows")]
        let number = self.len() as u32;
        let width = self.width;
        if let Some(last) = self.blocks.last_mut() {
            last.reserve(width);
            last.keys.push(key);
            last.inverse_norms.push(inverse_norm(row));
            for line in lines(row) {
                last.bits.push(signs(&line));
                last.lines.push(line);
            }
            self.map.set(key, number);
        }
    }

    fn overwrite(&mut self, row: u32, new: &[i8]) {
        let width = self.width;
        let (block, place) = at(row);
        let Some(block) = self.blocks.get_mut(block) else {
            return;
        };
        if let Some(norm) = block.inverse_norms.get_mut(place) {
            *norm = inverse_norm(new);
        }
        let old_lines = block.lines.iter_mut().skip(place * width);
        let old_bits = block.bits.iter_mut().skip(place * width);
        for ((old, bits), line) in old_lines.zip(old_bits).zip(lines(new)) {
            *bits = signs(&line);
            *old = line;
        }
    }

    fn remove_one(&mut self, key: i64) -> Option<()> {
        let row = self.map.remove(key)?;
        let width = self.width;
        let last = self.blocks.last()?;
        let moved = *last.keys.last()?;
        if moved != key {
            let norm = *last.inverse_norms.last()?;
            let start = last.lines.len() - width;
            let lines = last.lines.get(start..)?.to_vec();
            let bits = last.bits.get(start..)?.to_vec();
            let (block, place) = at(row);
            let block = self.blocks.get_mut(block)?;
            *block.keys.get_mut(place)? = moved;
            *block.inverse_norms.get_mut(place)? = norm;
            block
                .lines
                .get_mut(place * width..(place + 1) * width)?
                .copy_from_slice(&lines);
            block
                .bits
                .get_mut(place * width..(place + 1) * width)?
                .copy_from_slice(&bits);
            self.map.set(moved, row);
        }
        self.blocks.last_mut()?.pop(width);
        if self.blocks.last()?.keys.is_empty() {
            self.blocks.pop();
        }
        Some(())
    }
}

/// The block of a row, and its place there.
pub(super) fn at(row: u32) -> (usize, usize) {
    (row as usize / BLOCK, row as usize % BLOCK)
}
