//! The pages of an FTS5 index: where the list of a term begins and ends, and what its entries are.
//!
//! The format is that of `fts5_index.c`: a leaf begins with the place of its first row id and of its footer (two bytes
//! each, big-endian); the footer lists where its terms begin. A term is written as far as it differs from the one
//! before. Behind it stand row ids (the first of a page whole, the others as differences), each with the size of its
//! list of positions and the list. A list of one term may go on over many pages.

use super::Unreadable;

const HEADER: usize = 4;

/// A reader of bytes that ends where they end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a> {
    pub(super) data: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at }
    }

    /// A number as `SQLite` writes it: seven bits a byte, the ninth byte whole.
    pub(super) fn varint(&mut self) -> Option<u64> {
        let first = *self.data.get(self.at)?;
        if first < 0x80 {
            self.at += 1;
            return Some(u64::from(first));
        }
        let mut value = 0;
        for place in 0..9 {
            let byte = u64::from(*self.data.get(self.at)?);
            self.at += 1;
            if place == 8 {
                return Some(value << 8 | byte);
            }
            value = value << 7 | byte & 0x7f;
            if byte < 0x80 {
                break;
            }
        }
        Some(value)
    }

    fn size(&mut self) -> Option<usize> {
        self.varint().and_then(|value| usize::try_from(value).ok())
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.data.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }
}

/// The list of one term in one segment: the bytes of its entries, page after page.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) data: Vec<u8>,
    /// Places in `data` where a page began with a row id written whole.
    pub(super) whole: Vec<usize>,
    /// Whether it goes on in the next page.
    pub(super) is_open: bool,
}

impl List {
    /// The list of a term in the leaf that holds it where any does; `None` where the page cannot be read.
    pub(super) fn begin(page: &[u8], term: &[u8]) -> Option<Self> {
        let footer = footer(page)?;
        let mut offsets = Bytes::new(page, footer);
        let (mut at, mut name) = (0, Vec::new());
        while offsets.at < page.len() {
            at = offsets.size()?.checked_add(at)?;
            let mut reader = Bytes::new(page.get(..footer)?, at);
            let kept = if name.is_empty() { 0 } else { reader.size()? };
            let added = reader.size()?;
            name.truncate(kept);
            name.extend_from_slice(reader.take(added)?);
            if name == term {
                let mut list = Self::default();
                let end = if offsets.at < page.len() {
                    offsets.size()?.checked_add(at)?
                } else {
                    footer
                };
                list.is_open = end == footer;
                list.data.extend_from_slice(page.get(reader.at..end)?);
                return Some(list);
            }
        }
        Some(Self::default())
    }

    /// Adds the next page; `None` where it cannot be read.
    pub(super) fn extend(&mut self, page: &[u8]) -> Option<()> {
        let (first, footer) = (place(page, 0)?, footer(page)?);
        let mut end = footer;
        if footer < page.len() {
            end = Bytes::new(page, footer).size()?;
            self.is_open = false;
        }
        if (HEADER..end).contains(&first) {
            self.whole.push(self.data.len() + first - HEADER);
        }
        self.data.extend_from_slice(page.get(HEADER..end)?);
        Some(())
    }
}

fn footer(page: &[u8]) -> Option<usize> {
    place(page, 2).filter(|footer| (HEADER..=page.len()).contains(footer))
}

fn place(page: &[u8], at: usize) -> Option<usize> {
    let bytes = page.get(at..at + 2)?;
    Some(usize::from(u16::from_be_bytes(bytes.try_into().ok()?)))
}

/// Walks the entries of a list: row ids, each with its positions.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    bytes: Bytes<'a>,
    whole: std::iter::Peekable<std::iter::Copied<std::slice::Iter<'a, usize>>>,
    key: i64,
}

impl<'a> Entries<'a> {
    pub(super) fn of(list: &'a List) -> Self {
        Self {
            bytes: Bytes::new(&list.data, 0),
            whole: list.whole.iter().copied().peekable(),
            key: 0,
        }
    }

    /// The next row id and its positions; `None` at the end.
    pub(super) fn following(&mut self) -> Result<Option<(i64, &'a [u8])>, Unreadable> {
        if self.bytes.at >= self.bytes.data.len() {
            return Ok(None);
        }
        self.entry().map(Some).ok_or(Unreadable)
    }

    fn entry(&mut self) -> Option<(i64, &'a [u8])> {
        let at = self.bytes.at;
        while self.whole.next_if(|place| *place < at).is_some() {}
        let number = self.bytes.varint()?.cast_signed();
        let is_whole = at == 0 || self.whole.peek() == Some(&at);
        self.key = if is_whole {
            number
        } else {
            self.key.wrapping_add(number)
        };
        let size = self.bytes.size()?;
        let positions = self.bytes.take(size >> 1)?;
        Some((self.key, positions))
    }
}

/// Hands over each position of a list: the column, and the number of the token in it.
pub(super) fn each(positions: &[u8], mut take: impl FnMut(u32, u32)) -> Option<()> {
    let mut reader = Bytes::new(positions, 0);
    let (mut column, mut token) = (0, 0);
    while reader.at < positions.len() {
        let number = reader.varint()?;
        if number == 1 {
            column = u32::try_from(reader.varint()?).ok()?;
            token = 0;
            continue;
        }
        token = u32::try_from(number.checked_sub(2)?).ok()?.checked_add(token)?;
        take(column, token);
    }
    Some(())
}

/// The row ids that a segment's pages of deleted rows name, ascending.
pub(super) fn deleted(pages: &[&[u8]]) -> Option<Vec<i64>> {
    let mut found = Vec::new();
    for page in pages {
        let width = if *page.first()? == 4 { 4 } else { 8 };
        for slot in page.get(8..)?.chunks_exact(width) {
            let key = slot.iter().fold(0_u64, |key, byte| key << 8 | u64::from(*byte));
            if key != 0 {
                found.push(key.cast_signed());
            }
        }
    }
    found.sort_unstable();
    Some(found)
}
