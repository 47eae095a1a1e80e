//! How many rows a filter yields and what a plan costs: the numbers a planner compares.
//!
//! [`Statistics`] answers the first with an [`Interval`], [`CostModel`] the second, and
//! [`Estimator`] joins both and learns from executions. All of it is arithmetic on what it was
//! told: the same calls give the same answers.

mod calibration;
mod correction;
mod glob;
mod histogram;
mod interval;
mod model;
mod order;
mod parts;
mod plan;
mod sample;
mod statistics;
mod values;
mod ways;

pub use correction::{Corrections, Learnt, Observed, QError};
pub use interval::Interval;
pub use model::{Coefficients, CostModel, Operator, Price, Step};
pub use plan::{Planned, Question, Reading, Way, Weighed, plan};
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
            correction: Correction::default(),
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

    /// Learns from a plan's execution: its way, its steps with row counts as true as they are known, and
    /// what it was expected to take and took, in microseconds.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] for no steps, or a count or time that is negative, infinite or not a
    /// number.
    pub fn observe(
        &mut self,
        way: Way,
        steps: &[Observed],
        estimated_us: f64,
        actual_us: f64,
    ) -> Result<(), CoreError> {
        let times = (estimated_us, actual_us);
        self.correction.observe(&mut self.model, way, steps, times)
    }

    /// Fits the cost model to runs made for it: steps with row counts, and the microseconds they took.
    /// What executions taught before is forgotten.
    ///
    /// # Errors
    /// As [`Estimator::observe`]; nothing was learnt.
    pub fn calibrate(&mut self, runs: &[(Vec<Observed>, f64)]) -> Result<(), CoreError> {
        for (steps, actual_us) in runs {
            correction::check("actual_us", steps, *actual_us)?;
        }
        self.model = calibration::fitted(&self.model, runs);
        self.correction = Correction::default();
        for way in Way::ALL {
            self.model.set_factor(way, 1.0);
        }
        Ok(())
    }

    /// What executions taught, for the next process.
    pub fn learnt(&self) -> Corrections {
        self.correction.learnt()
    }

    /// Goes on from what an earlier process learnt; its counts are capped, so that this one can differ soon.
    pub fn restore(&mut self, learnt: &Corrections) {
        self.correction.restore(&mut self.model, learnt);
    }

    /// How far off the predictions were, before each was learnt from.
    pub fn q_error(&self) -> QError {
        self.correction.q_error()
    }
}
