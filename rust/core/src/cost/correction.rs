//! Learning the coefficients from what plans really took.
//!
//! Times spread over decades and their errors are factors, so the error is the logarithm of actual
//! over predicted, and a coefficient is corrected by a factor: normalised least mean squares in
//! log space, which is the exponentiated gradient of Kivinen and Warmuth (1997). Each coefficient
//! moves by its share of the predicted time; a startup cost is thus learnt from runs over few rows
//! and a cost per row from runs over many. Two guards against outliers: an error counts at most as
//! a factor of [`ERROR_FACTOR_MAX`], and the rate falls with experience, from a half to 1/20.

use super::model::{CostModel, Operator};
use crate::CoreError;

/// An error beyond this factor counts as this factor.
const ERROR_FACTOR_MAX: f64 = 4.0;
const RATE_FIRST: f64 = 0.5;
const RATE_LAST: f64 = 0.05;
/// Observations after which the rate has halved.
const RATE_HALVING: f64 = 10.0;
/// A coefficient stays within this factor of its value when the estimator was made.
const DRIFT_FACTOR_MAX: f64 = 1e4;
/// Times below this count as this: no clock tells them apart.
const US_MIN: f64 = 0.001;
/// How many of the latest q-errors are kept.
const Q_ERRORS_KEPT: usize = 512;

/// A step that was executed, with the rows it really met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// What was done.
    pub operator: Operator,
    /// To how many rows.
    pub rows: f64,
}

/// How far estimates were off lately: the q-error is the larger of estimate over truth and truth
/// over estimate, 1 when exact (Moerkotte, Neumann, Steidl, VLDB 2009).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QError {
    /// How many of the latest observations this is about.
    pub count: usize,
    /// The median; 1 without observations.
    pub median: f64,
    /// The 95th percentile, nearest rank; 1 without observations.
    pub p95: f64,
}

/// How often the runs of a calibration are gone through, and how fast they move the coefficients.
const CALIBRATION_ROUNDS: u32 = 60;
const CALIBRATION_RATE: f64 = 0.4;

#[derive(Debug)]
pub(crate) struct Correction {
    origin: CostModel,
    observations: f64,
    q_errors: Vec<f64>,
    next: usize,
}

impl Correction {
    pub(crate) fn new(origin: CostModel) -> Self {
        Self {
            origin,
            observations: 0.0,
            q_errors: Vec::new(),
            next: 0,
        }
    }

    /// Fits the coefficients to runs made for it; they are no predictions, so no q-error is kept.
    pub(crate) fn calibrate(
        &mut self,
        model: &mut CostModel,
        runs: &[(Vec<Observed>, f64)],
    ) -> Result<(), CoreError> {
        for (steps, actual_us) in runs {
            check(steps, *actual_us)?;
        }
        let limit = ERROR_FACTOR_MAX.ln();
        for round in 0..CALIBRATION_ROUNDS {
            let rate = CALIBRATION_RATE / (1.0 + f64::from(round) / 4.0);
            for (steps, actual_us) in runs {
                let parts = Parts::of(model, steps);
                let predicted = parts.total().max(US_MIN);
                let error = (actual_us.max(US_MIN) / predicted).ln();
                self.apply(model, &parts, rate * error.clamp(-limit, limit), predicted);
            }
        }
        self.observations += runs.len() as f64;
        Ok(())
    }

    pub(crate) fn observe(
        &mut self,
        model: &mut CostModel,
        steps: &[Observed],
        actual_us: f64,
    ) -> Result<(), CoreError> {
        check(steps, actual_us)?;
        let parts = Parts::of(model, steps);
        let predicted = parts.total().max(US_MIN);
        let ratio = actual_us.max(US_MIN) / predicted;
        self.keep(ratio.max(1.0 / ratio));
        let limit = ERROR_FACTOR_MAX.ln();
        let rate = RATE_FIRST / (1.0 + self.observations / RATE_HALVING);
        self.observations += 1.0;
        let step = rate.max(RATE_LAST) * ratio.ln().clamp(-limit, limit);
        self.apply(model, &parts, step, predicted);
        Ok(())
    }

    fn apply(&self, model: &mut CostModel, parts: &Parts, step: f64, predicted: f64) {
        let shares = parts
            .by_operator
            .iter()
            .flat_map(|(_, startup, rows)| [startup, rows]);
        let norm: f64 = shares.map(|part| (part / predicted).powi(2)).sum();
        if norm <= 0.0 {
            return;
        }
        for (operator, startup, rows) in &parts.by_operator {
            let origin = self.origin.of(*operator);
            let now = model.of_mut(*operator);
            let corrected = |value: f64, origin: f64, part: f64| {
                let factor = (step * (part / predicted) / norm).exp();
                (value * factor).clamp(origin / DRIFT_FACTOR_MAX, origin * DRIFT_FACTOR_MAX)
            };
            now.startup_us = corrected(now.startup_us, origin.startup_us, *startup);
            now.row_us = corrected(now.row_us, origin.row_us, *rows);
        }
    }

    fn keep(&mut self, q_error: f64) {
        match self.q_errors.get_mut(self.next) {
            Some(oldest) => *oldest = q_error,
            None => self.q_errors.push(q_error),
        }
        self.next = (self.next + 1) % Q_ERRORS_KEPT;
    }

    pub(crate) fn q_error(&self) -> QError {
        let mut sorted = self.q_errors.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(rank).copied().unwrap_or(1.0)
        };
        QError {
            count: sorted.len(),
            median: rank(50),
            p95: rank(95),
        }
    }
}

/// Refuses what nothing can be learnt from.
fn check(steps: &[Observed], actual_us: f64) -> Result<(), CoreError> {
    if !actual_us.is_finite() || actual_us < 0.0 {
        let problem = format!("must be finite and at least 0, not {actual_us}");
        return Err(CoreError::invalid("actual_us", problem));
    }
    for (index, step) in steps.iter().enumerate() {
        if !step.rows.is_finite() || step.rows < 0.0 {
            let problem = format!("must be finite and at least 0, not {}", step.rows);
            return Err(CoreError::invalid(format!("steps[{index}].rows"), problem));
        }
    }
    if steps.is_empty() {
        return Err(CoreError::invalid("steps", "must not be empty"));
    }
    Ok(())
}

/// What each operator adds to a predicted time: its startups and its rows.
struct Parts {
    by_operator: Vec<(Operator, f64, f64)>,
}

impl Parts {
    fn of(model: &CostModel, steps: &[Observed]) -> Self {
        let mut by_operator: Vec<(Operator, f64, f64)> = Vec::with_capacity(steps.len());
        for step in steps {
            let cost = model.of(step.operator);
            let startup = cost.startup_us;
            let rows = cost.row_us * step.operator.work(step.rows);
            let known = by_operator
                .iter_mut()
                .find(|(operator, _, _)| *operator == step.operator);
            match known {
                Some(part) => (part.1, part.2) = (part.1 + startup, part.2 + rows),
                None => by_operator.push((step.operator, startup, rows)),
            }
        }
        Self { by_operator }
    }

    fn total(&self) -> f64 {
        self.by_operator
            .iter()
            .map(|(_, startup, rows)| startup + rows)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{Correction, Observed, Q_ERRORS_KEPT};
    use crate::cost::{CostModel, Operator};

    fn one(operator: Operator, rows: f64) -> [Observed; 1] {
        [Observed { operator, rows }]
    }

    #[test]
    fn coefficients_approach_what_is_observed() {
        let mut model = CostModel::default();
        let mut correction = Correction::new(model);
        let truth = |rows: f64| 50.0 + 40.0 * rows;
        for round in 0..400 {
            let rows = f64::from([0, 1, 10, 200][round % 4]);
            correction
                .observe(&mut model, &one(Operator::RowFetch, rows), truth(rows))
                .unwrap();
        }
        let learnt = model.of(Operator::RowFetch);
        assert!((learnt.row_us / 40.0).ln().abs() < 0.1, "{learnt:?}");
        assert!((learnt.startup_us / 50.0).ln().abs() < 0.2, "{learnt:?}");
        assert_eq!(model.of(Operator::Sort), CostModel::default().of(Operator::Sort));
    }

    #[test]
    fn calibration_fits_the_runs_and_counts_no_prediction() {
        let mut model = CostModel::default();
        let mut correction = Correction::new(model);
        let truth = |rows: f64| 300.0 + 7.0 * rows;
        let runs: Vec<_> = [0.0, 10.0, 100.0, 1000.0]
            .iter()
            .map(|&rows| (one(Operator::RowFetch, rows).to_vec(), truth(rows)))
            .collect();
        correction.calibrate(&mut model, &runs).unwrap();
        let learnt = model.of(Operator::RowFetch);
        assert!((learnt.row_us / 7.0).ln().abs() < 0.1, "{learnt:?}");
        assert!((learnt.startup_us / 300.0).ln().abs() < 0.1, "{learnt:?}");
        assert_eq!(correction.q_error().count, 0);
        let before = model;
        assert!(correction.calibrate(&mut model, &[(vec![], 1.0)]).is_err());
        assert_eq!(model, before);
    }

    #[test]
    fn an_outlier_moves_little() {
        let mut model = CostModel::default();
        let mut correction = Correction::new(model);
        let steps = one(Operator::IndexScan, 1000.0);
        for _ in 0..200 {
            correction.observe(&mut model, &steps, 308.0).unwrap();
        }
        correction.observe(&mut model, &steps, 1e9).unwrap();
        let row_us = model.of(Operator::IndexScan).row_us;
        assert!(row_us > 0.3 && row_us < 0.33, "{row_us}");
    }

    #[test]
    fn q_errors_cover_the_latest_observations_only() {
        let mut model = CostModel::default();
        let mut correction = Correction::new(model);
        assert_eq!(correction.q_error().median, 1.0);
        let steps = one(Operator::RowidProbe, 980.0);
        correction.observe(&mut model, &steps, 400.0).unwrap();
        assert_eq!((correction.q_error().count, correction.q_error().p95), (1, 4.0));
        for _ in 0..2 * Q_ERRORS_KEPT {
            correction.observe(&mut model, &steps, 400.0).unwrap();
        }
        let q_error = correction.q_error();
        assert_eq!(q_error.count, Q_ERRORS_KEPT);
        assert!(q_error.p95 < 1.01, "{q_error:?}");
    }

    #[test]
    fn nonsense_is_refused_and_changes_nothing() {
        let mut model = CostModel::default();
        let mut correction = Correction::new(model);
        let steps = one(Operator::Sort, 5.0);
        for actual in [f64::NAN, f64::INFINITY, -1.0] {
            let error = correction.observe(&mut model, &steps, actual).unwrap_err();
            assert!(error.to_string().starts_with("actual_us:"));
        }
        let error = correction
            .observe(&mut model, &one(Operator::Sort, -1.0), 1.0)
            .unwrap_err();
        assert!(error.to_string().starts_with("steps[0].rows:"));
        assert!(correction.observe(&mut model, &[], 1.0).is_err());
        assert_eq!((model, correction.q_error().count), (CostModel::default(), 0));
    }

    #[test]
    fn a_step_that_costs_nothing_by_the_model_is_survived() {
        let mut model = CostModel::default();
        let free = super::super::Coefficients {
            startup_us: 0.0,
            row_us: 0.0,
            row_bytes: 0.0,
        };
        model.set(Operator::CacheProbe, free).unwrap();
        let mut correction = Correction::new(model);
        let twice = [Observed {
            operator: Operator::CacheProbe,
            rows: 1.0,
        }; 2];
        correction.observe(&mut model, &twice, 5.0).unwrap();
        assert_eq!(model.of(Operator::CacheProbe), free);
    }
}
