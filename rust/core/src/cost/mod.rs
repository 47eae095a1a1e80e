//! How many rows a filter yields and what a plan costs: the numbers a planner compares.
//!
//! [`Statistics`] answers the first with an [`Interval`], [`CostModel`] the second, and
//! [`Estimator`] joins both and learns from executions. All of it is arithmetic on what it was
//! told: the same calls give the same answers.

mod correction;
mod glob;
mod histogram;
mod interval;
mod model;
mod statistics;
mod values;

pub use correction::{Observed, QError};
pub use interval::Interval;
pub use model::{Coefficients, CostModel, Operator, Price, Step};
pub use statistics::{Filter, Statistics};
pub use values::Multiplicity;

use crate::CoreError;
use correction::Correction;

/// Statistics, a cost model, and its correction.
#[derive(Debug)]
pub struct Estimator {
    /// What is known of the table.
    pub statistics: Statistics,
    model: CostModel,
    correction: Correction,
}

impl Estimator {
    /// An estimator without statistics that prices by `model`.
    pub fn new(model: CostModel) -> Self {
        Self {
            statistics: Statistics::default(),
            model,
            correction: Correction::new(model),
        }
    }

    /// The cost model as corrected so far.
    pub fn model(&self) -> CostModel {
        self.model
    }

    /// Learns from a plan's execution: its steps with true row counts, and the time it took.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] for no steps, or a count or time that is negative, infinite or not a
    /// number.
    pub fn observe(&mut self, steps: &[Observed], actual_us: f64) -> Result<(), CoreError> {
        self.correction.observe(&mut self.model, steps, actual_us)
    }

    /// How far off the predictions were, before each was learnt from.
    pub fn q_error(&self) -> QError {
        self.correction.q_error()
    }
}
