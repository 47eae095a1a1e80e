//! Learning from what plans really took, without ever making the choice between plans worse.
//!
//! Only plans that were chosen are seen, and they were chosen for a low price: to learn from them what their
//! operators or ways cost would make every other plan look cheap. So the coefficients are calibration's alone and
//! they alone decide; what is learnt here tells how long the plan that they chose will take. Both parts are
//! logarithms, for errors of times are factors:
//!
//! - how fast the machine is now, one factor for all plans;
//! - how far each way is off beyond that, shrunk by the number of its executions and bounded by
//!   [`WAY_FACTOR_MAX`].
//!
//! Each moves towards the error by a step of at most [`STEP_MAX`], as a running median does
//! (Robbins and Monro 1951 on the Huber loss), so that no outlier moves it far.

use super::calibration::US_MIN;
use super::model::{CostModel, Operator};
use super::order::percentile;
use super::plan::{WAY_COUNT, Way};
use crate::CoreError;

/// An error beyond this, as a logarithm, counts as this.
const STEP_MAX: f64 = 0.25;
const SPEED_RATE_FIRST: f64 = 0.5;
const SPEED_RATE_LAST: f64 = 0.03;
const WAY_RATE_LAST: f64 = 0.02;
/// Executions of a way by which its factor is trusted half.
const WAY_TRUST: f64 = 20.0;
/// A way's own factor stays within this.
const WAY_FACTOR_MAX: f64 = 1.5;
/// The machine's factor stays within this.
const SPEED_FACTOR_MAX: f64 = 100.0;
/// As how many executions those of an earlier process count at most for the pace: the machine may have other
/// company now.
const COUNT_KEPT: f64 = 64.0;
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

/// A factor that was learnt, and from how many executions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learnt {
    /// How many times longer than predicted.
    pub factor: f64,
    /// Executions that taught it.
    pub count: f64,
}

/// What executions taught: of the machine and of each way beyond that, in the order of [`Way::ALL`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Corrections {
    /// The machine's pace.
    pub machine: Learnt,
    /// What each way takes beyond that.
    pub ways: [Learnt; WAY_COUNT],
}

#[derive(Debug, Clone, Copy, Default)]
struct Residual {
    log: f64,
    count: f64,
}

impl Residual {
    fn learnt(self) -> Learnt {
        Learnt {
            factor: self.log.exp(),
            count: self.count,
        }
    }

    fn of(learnt: Learnt, factor_max: f64, count_max: f64) -> Self {
        let most = factor_max.ln();
        Self {
            log: learnt.factor.max(f64::MIN_POSITIVE).ln().clamp(-most, most),
            count: learnt.count.clamp(0.0, count_max),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Correction {
    speed: Residual,
    ways: [Residual; WAY_COUNT],
    q_errors: Vec<f64>,
    next: usize,
}

impl Correction {
    /// Learns from an execution; `estimated_us` is what the plan was expected to take.
    pub(crate) fn observe(
        &mut self,
        model: &mut CostModel,
        way: Way,
        steps: &[Observed],
        (estimated_us, actual_us): (f64, f64),
    ) -> Result<(), CoreError> {
        check("estimated_us", steps, estimated_us)?;
        check("actual_us", steps, actual_us)?;
        let actual_us = actual_us.max(US_MIN);
        let ratio = actual_us / estimated_us.max(US_MIN);
        self.keep(ratio.max(1.0 / ratio));
        let predicted = predicted(model, steps) * model.factor(way);
        let error = (actual_us / predicted.max(US_MIN))
            .ln()
            .clamp(-STEP_MAX, STEP_MAX);
        let speed = &mut self.speed;
        let rate = (SPEED_RATE_FIRST / (1.0 + speed.count / 8.0)).max(SPEED_RATE_LAST);
        let most = SPEED_FACTOR_MAX.ln();
        speed.log = (speed.log + rate * error).clamp(-most, most);
        speed.count += 1.0;
        if let Some(own) = self.ways.get_mut(way as usize) {
            own.count += 1.0;
            let rate = (1.0 / own.count).max(WAY_RATE_LAST);
            let most = WAY_FACTOR_MAX.ln();
            own.log = (own.log + rate * error).clamp(-most, most);
        }
        self.apply(model);
        Ok(())
    }

    fn apply(&self, model: &mut CostModel) {
        for (way, own) in Way::ALL.into_iter().zip(self.ways) {
            let trusted = own.log * own.count / (own.count + WAY_TRUST);
            model.set_factor(way, (self.speed.log + trusted).exp());
        }
    }

    pub(crate) fn learnt(&self) -> Corrections {
        Corrections {
            machine: self.speed.learnt(),
            ways: self.ways.map(Residual::learnt),
        }
    }

    /// Goes on from what an earlier process learnt.
    pub(crate) fn restore(&mut self, model: &mut CostModel, learnt: &Corrections) {
        self.speed = Residual::of(learnt.machine, SPEED_FACTOR_MAX, COUNT_KEPT);
        self.ways = learnt.ways.map(|way| Residual::of(way, WAY_FACTOR_MAX, f64::MAX));
        self.apply(model);
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
        QError {
            count: sorted.len(),
            median: percentile(&sorted, 50).unwrap_or(1.0),
            p95: percentile(&sorted, 95).unwrap_or(1.0),
        }
    }
}

/// What the steps take by the coefficients alone.
fn predicted(model: &CostModel, steps: &[Observed]) -> f64 {
    let each = steps.iter().map(|step| {
        let cost = model.of(step.operator);
        cost.startup_us + cost.row_us * step.operator.work(step.rows)
    });
    each.sum()
}

/// Refuses what nothing can be learnt from.
pub(crate) fn check(time: &str, steps: &[Observed], us: f64) -> Result<(), CoreError> {
    if !us.is_finite() || us < 0.0 {
        let problem = format!("must be finite and at least 0, not {us}");
        return Err(CoreError::invalid(time, problem));
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

#[cfg(test)]
mod tests {
    use super::{COUNT_KEPT, Correction, Observed, Q_ERRORS_KEPT, WAY_FACTOR_MAX};
    use crate::cost::{CostModel, Operator, Way};

    const STEPS: [Observed; 1] = [Observed {
        operator: Operator::RowFetch,
        rows: 1000.0,
    }];

    /// Executes a way that takes `us` so many times.
    fn run(correction: &mut Correction, model: &mut CostModel, way: Way, us: f64, times: usize) {
        for _ in 0..times {
            let estimate = model.of(Operator::RowFetch).row_us * 1000.0 * model.factor(way);
            correction.observe(model, way, &STEPS, (estimate, us)).unwrap();
        }
    }

    fn base() -> f64 {
        CostModel::default().of(Operator::RowFetch).row_us * 1000.0
    }

    #[test]
    fn a_slower_machine_is_learnt_for_every_way_and_changes_no_choice() {
        let (mut model, mut correction) = (CostModel::default(), Correction::default());
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..400 {
            let way = Way::ALL[rng.usize(..4)];
            run(&mut correction, &mut model, way, 3.0 * base(), 1);
        }
        let factors = Way::ALL.map(|way| model.factor(way));
        assert!(
            factors.iter().all(|factor| (factor / 3.0).ln().abs() < 0.05),
            "{factors:?}"
        );
        assert!(
            factors
                .iter()
                .all(|factor| (factor / factors[0]).ln().abs() < 0.05),
            "{factors:?}"
        );
        assert!(correction.q_error().median < 1.05);
    }

    #[test]
    fn a_way_that_is_off_is_corrected_within_its_bounds() {
        let (mut model, mut correction) = (CostModel::default(), Correction::default());
        for _ in 0..300 {
            run(&mut correction, &mut model, Way::LexicalFirst, base(), 1);
            run(&mut correction, &mut model, Way::RankFirst, 1.4 * base(), 1);
        }
        let apart = model.factor(Way::RankFirst) / model.factor(Way::LexicalFirst);
        assert!(apart > 1.25 && apart < 1.5, "{apart}");
        run(&mut correction, &mut model, Way::FilterScan, 1e9, 5_000);
        let ways = correction.learnt().ways.map(|way| way.factor);
        let most = WAY_FACTOR_MAX + 1e-9;
        assert!(
            ways.iter().all(|factor| (1.0 / most..=most).contains(factor)),
            "{ways:?}"
        );
    }

    #[test]
    fn the_coefficients_stay_those_of_the_calibration() {
        let (mut model, mut correction) = (CostModel::default(), Correction::default());
        run(&mut correction, &mut model, Way::FilterFirst, 1e6, 100);
        assert!(model.iter().eq(CostModel::default().iter()));
    }

    #[test]
    fn an_outlier_moves_little() {
        let (mut model, mut correction) = (CostModel::default(), Correction::default());
        run(&mut correction, &mut model, Way::LexicalFirst, base(), 200);
        run(&mut correction, &mut model, Way::LexicalFirst, 1e12, 1);
        let factor = model.factor(Way::LexicalFirst);
        assert!(factor > 0.98 && factor < 1.03, "{factor}");
    }

    #[test]
    fn what_was_learnt_goes_to_the_next_process_and_gives_way_there() {
        let (mut model, mut correction) = (CostModel::default(), Correction::default());
        run(&mut correction, &mut model, Way::LexicalFirst, 2.0 * base(), 500);
        let learnt = correction.learnt();
        let (mut next_model, mut next) = (CostModel::default(), Correction::default());
        next.restore(&mut next_model, &learnt);
        assert_eq!(next.learnt().machine.count, COUNT_KEPT);
        let (before, after) = (
            model.factor(Way::LexicalFirst),
            next_model.factor(Way::LexicalFirst),
        );
        assert!((before / after).ln().abs() < 0.05, "{before} {after}");
    }

    #[test]
    fn q_errors_cover_the_latest_observations_only() {
        let (mut model, mut correction) = (CostModel::default(), Correction::default());
        assert_eq!(correction.q_error().median, 1.0);
        let mut observe = |correction: &mut Correction, times| {
            correction
                .observe(&mut model, Way::RankFirst, &STEPS, times)
                .unwrap();
        };
        observe(&mut correction, (100.0, 400.0));
        assert_eq!((correction.q_error().count, correction.q_error().p95), (1, 4.0));
        for _ in 0..2 * Q_ERRORS_KEPT {
            observe(&mut correction, (400.0, 400.0));
        }
        let q_error = correction.q_error();
        assert_eq!((q_error.count, q_error.p95), (Q_ERRORS_KEPT, 1.0));
    }

    #[test]
    fn nonsense_is_refused_and_changes_nothing() {
        let (mut model, mut correction) = (CostModel::default(), Correction::default());
        let mut refuse = |steps: &[Observed], times| {
            let error = correction.observe(&mut model, Way::RankFirst, steps, times);
            error.unwrap_err().to_string()
        };
        for actual in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(refuse(&STEPS, (1.0, actual)).starts_with("actual_us:"));
        }
        assert!(refuse(&STEPS, (f64::NAN, 1.0)).starts_with("estimated_us:"));
        let wrong = [Observed {
            operator: Operator::Sort,
            rows: -1.0,
        }];
        assert!(refuse(&wrong, (1.0, 1.0)).starts_with("steps[0].rows:"));
        assert!(refuse(&[], (1.0, 1.0)).starts_with("steps:"));
        assert_eq!((model, correction.q_error().count), (CostModel::default(), 0));
    }
}
