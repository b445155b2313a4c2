//! Random numbers and texts of the standard, each row from a generator of its own: it can be made
//! at any time, in any order, by anybody who knows the seed.

use super::schema::{Place, Rows};
use crate::keys::Rng;

/// Most last names that there are (clause 4.3.2.3).
pub(super) const NAMES_MAX: u32 = 1000;
/// Share of ITEM and STOCK rows that say "ORIGINAL" (clause 4.3.3.1).
const ORIGINAL_SHARE: f64 = 0.1;
const ALPHABET: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// An odd multiplier without structure, so that neighbouring rows get unrelated seeds.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const SYLLABLES: [&[u8]; 10] =
    [b"BAR", b"OUGHT", b"ABLE", b"PRI", b"PRES", b"ESE", b"ANTI", b"CALLY", b"ATION", b"EING"];

/// What a generator of a row is for, where the row needs several.
pub(super) mod purpose {
    /// The row itself.
    pub(crate) const ROW: u8 = 0;
    /// The name of a customer, which the index needs without the rest.
    pub(crate) const NAME: u8 = 1;
    /// One text of the row of a stock; the district is added.
    pub(crate) const DIST: u8 = 16;
}

/// The generator of a row.
pub(super) fn of_row(seed: u64, rows: Rows, purpose: u8, place: Place, number: u32) -> Rng {
    let head = (rows as u64) << 60 | u64::from(place.district) << 56 | u64::from(purpose) << 48;
    let row = head | u64::from(place.warehouse) << 32 | u64::from(number);
    Rng::new(seed ^ row.wrapping_mul(SPREAD))
}

/// A number in `from..=to`.
#[inline]
pub(super) fn between(rng: &mut Rng, from: u64, to: u64) -> u64 {
    from + rng.below(to - from + 1)
}

/// Fills a text with letters and digits.
pub(super) fn letters(rng: &mut Rng, out: &mut [u8]) {
    for chunk in out.chunks_mut(8) {
        for (letter, byte) in chunk.iter_mut().zip(rng.next_u64().to_le_bytes()) {
            *letter = ALPHABET[(usize::from(byte) * ALPHABET.len()) >> 8];
        }
    }
}

/// A text of at least `min` letters and digits, filled up with zeros. Returns its length.
pub(super) fn text<const N: usize>(rng: &mut Rng, min: usize, out: &mut [u8; N]) -> usize {
    let len = between(rng, min as u64, N as u64) as usize;
    letters(rng, &mut out[..len]);
    len
}

/// As `text`, made and returned.
pub(super) fn new_text<const N: usize>(rng: &mut Rng, min: usize) -> [u8; N] {
    let mut out = [0; N];
    text(rng, min, &mut out);
    out
}

/// So many digits.
pub(super) fn digits<const N: usize>(rng: &mut Rng) -> [u8; N] {
    std::array::from_fn(|_| b'0' + rng.below(10) as u8)
}

/// I_DATA or S_DATA, and whether it says "ORIGINAL" somewhere.
pub(super) fn data(rng: &mut Rng) -> ([u8; 50], bool) {
    const WORD: &[u8; 8] = b"ORIGINAL";
    let mut out = [0; 50];
    let len = text(rng, 26, &mut out);
    let is_original = rng.chance(ORIGINAL_SHARE);
    if is_original {
        let at = rng.below((len - WORD.len() + 1) as u64) as usize;
        out[at..at + WORD.len()].copy_from_slice(WORD);
    }
    (out, is_original)
}

/// The last name of a number: a syllable for each of its three digits.
pub(super) fn last_name(number: u32) -> [u8; 16] {
    let mut name = [0; 16];
    let mut len = 0;
    for digit in [number / 100, number / 10, number] {
        let syllable = SYLLABLES[(digit % 10) as usize];
        name[len..len + syllable.len()].copy_from_slice(syllable);
        len += syllable.len();
    }
    name
}

/// S_DIST_xx of a stock, without the row: it never changes, so who knows the seed can tell it.
pub(super) fn dist(seed: u64, warehouse: u16, item: u32, district: u8) -> [u8; 24] {
    let place = Place::of_warehouse(warehouse);
    let mut rng = of_row(seed, Rows::Stock, purpose::DIST + district, place, item);
    let mut out = [0; 24];
    letters(&mut rng, &mut out);
    out
}

/// The name of a warehouse or a district, without the row.
pub(super) fn site_name(seed: u64, place: Place) -> [u8; 10] {
    let rows = if place.district == 0 { Rows::Warehouse } else { Rows::District };
    new_text(&mut of_row(seed, rows, purpose::NAME, place, 0), 6)
}

/// The numbers that NURand adds, one for each of its uses (clause 2.1.6).
#[derive(Debug, Clone, Copy)]
pub(super) struct Constants {
    name_loaded: u64,
    name: u64,
    customer: u64,
    item: u64,
}

impl Constants {
    /// The constants of a seed. Those for names differ between load and run by as much as clause
    /// 2.1.6.1 asks for.
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(!seed);
        let name_loaded = rng.below(256);
        let start = rng.below(256);
        let fits = |name: &u64| {
            let apart = name.abs_diff(name_loaded);
            (65..=119).contains(&apart) && apart != 96 && apart != 112
        };
        let name = (0..256).map(|step| (start + step) % 256).find(fits);
        Self {
            name_loaded,
            name: name.expect("some number of 256 is 65 away"),
            customer: rng.below(1024),
            item: rng.below(8192),
        }
    }

    /// A customer of `1..=customers`.
    #[inline]
    pub(super) fn customer(&self, rng: &mut Rng, customers: u32) -> u32 {
        nurand(rng, (1023, self.customer), 1, customers)
    }

    /// An item of `1..=items`.
    #[inline]
    pub(super) fn item(&self, rng: &mut Rng, items: u32) -> u32 {
        nurand(rng, (8191, self.item), 1, items)
    }

    /// A last name that a run asks for.
    #[inline]
    pub(super) fn name(&self, rng: &mut Rng, customers: u32) -> u32 {
        nurand(rng, (255, self.name), 0, customers.min(NAMES_MAX))
    }

    /// The last name of a customer: the first thousand have one each, the others any of these.
    pub(super) fn name_of(&self, rng: &mut Rng, customer: u32, customers: u32) -> u32 {
        if customer <= NAMES_MAX {
            return customer - 1;
        }
        nurand(rng, (255, self.name_loaded), 0, customers.min(NAMES_MAX))
    }
}

/// NURand of clause 2.1.6: one of `count` numbers beginning with `from`.
#[inline]
fn nurand(rng: &mut Rng, (a, c): (u64, u64), from: u64, count: u32) -> u32 {
    let count = u64::from(count);
    let drawn = rng.below(a + 1) | (from + rng.below(count));
    (from + (drawn + c) % count) as u32
}
