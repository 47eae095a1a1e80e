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
mod plan;
mod statistics;
mod values;

pub use correction::{Observed, QError};
pub use interval::Interval;
pub use model::{Coefficients, CostModel, Operator, Price, Step};
pub use plan::{Planned, Question, Way, Weighed, plan};
pub use statistics::{Filter, Statistics};
pub use values::Multiplicity;

use std::sync::Arc;

use crate::CoreError;
use correction::Correction;

/// Statistics, a cost model, and its correction.
#[derive(Debug)]
pub struct Estimator {
    statistics: Arc<Statistics>,
    model: CostModel,
    correction: Correction,
}

impl Estimator {
    /// An estimator without statistics that prices by `model`.
    pub fn new(model: CostModel) -> Self {
        Self {
            statistics: Arc::default(),
            model,
            correction: Correction::new(model),
        }
    }

    /// What is known of the table: a snapshot that needs no lock.
    pub fn statistics(&self) -> Arc<Statistics> {
        Arc::clone(&self.statistics)
    }

    /// The statistics, to be changed; snapshots taken before keep what they hold.
    pub fn statistics_mut(&mut self) -> &mut Statistics {
        Arc::make_mut(&mut self.statistics)
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

    /// Fits the cost model to runs made for it: steps with row counts, and the microseconds they took.
    ///
    /// # Errors
    /// As [`Estimator::observe`]; nothing was learnt.
    pub fn calibrate(&mut self, runs: &[(Vec<Observed>, f64)]) -> Result<(), CoreError> {
        self.correction.calibrate(&mut self.model, runs)
    }

    /// How far off the predictions were, before each was learnt from.
    pub fn q_error(&self) -> QError {
        self.correction.q_error()
    }
}
