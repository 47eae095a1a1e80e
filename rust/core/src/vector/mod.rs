//! Exact nearest-neighbour search over int8 vectors, with filters inside.
//!
//! A [`Matrix`] holds the vectors of one workspace in one embedding space. A row is the direction of a vector:
//! rotated (see `rotate`), then `dim` signed bytes of which the largest is ±127, and one over its length beside
//! it, so that a score is the cosine of the quantised vectors. One scale for all rows would clip the large
//! components of some and waste half of the range on others.
//!
//! - [`Matrix::search`] takes the cheapest of four [`Way`]s by measured [`Costs`];
//! - with keys to search among, the `k` best of *those* come back: a filter never leaves fewer.

mod costs;
mod kernel;
mod keymap;
mod quantise;
mod rotate;
mod rows;
mod scan;
mod top;

pub use costs::{Costs, Line as CostLine, Way};
pub use quantise::quantise;
pub use rows::Matrix;
pub use scan::Found;
pub use top::Hit;
