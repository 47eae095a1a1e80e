//! Fitting the coefficients to runs made for it.
//!
//! What a run takes is a sum over its operators, so that the coefficients are a least-squares problem
//! with answers of at least 0, solved by coordinate descent on the normal equations. Times spread over
//! decades and their errors are factors, so each run weighs one over actual times predicted, which
//! makes the squares those of the log error up to the second order; runs off by more than
//! [`OUTLIER`] count less (Huber), by iterative reweighting. Operators that the runs do not tell apart
//! stay where they were in relation to each other: a ridge pulls each towards its value before, times
//! the one factor by which this machine differs.

use super::correction::Observed;
use super::model::{CostModel, OPERATOR_COUNT, Operator};
use super::order::median;

const REWEIGHTS: usize = 20;
const SWEEPS: usize = 40;
/// A log error beyond this is an outlier.
const OUTLIER: f64 = 0.2;
/// How many runs that consist of one operator alone the value before weighs.
const RIDGE: f64 = 5.0;
/// A coefficient changes by no more than this factor, beyond the machine's.
const FACTOR_MAX: f64 = 30.0;
/// Times below this count as this: no clock tells them apart.
pub(crate) const US_MIN: f64 = 0.001;

type Vector = [f64; OPERATOR_COUNT];

/// A run as the fit sees it: what each operator adds by the model before, and the rest of its time.
struct Run {
    parts: Vector,
    us: f64,
}

/// The model that explains the runs best.
pub(crate) fn fitted(model: &CostModel, runs: &[(Vec<Observed>, f64)]) -> CostModel {
    let mut runs: Vec<Run> = runs
        .iter()
        .map(|(steps, us)| Run::new(model, steps, *us))
        .collect();
    runs.retain(|run| run.parts.iter().sum::<f64>() > 0.0);
    let mut logs: Vec<f64> = runs
        .iter()
        .map(|run| (run.us / run.predicted(&[1.0; OPERATOR_COUNT])).ln())
        .collect();
    let Some(speed) = median(&mut logs).map(f64::exp) else {
        return *model;
    };
    for run in &mut runs {
        run.parts = run.parts.map(|part| part * speed);
    }
    let mut factors = [1.0; OPERATOR_COUNT];
    for _ in 0..REWEIGHTS {
        factors = solved(&runs, &factors);
    }
    let mut fitted = *model;
    for (operator, factor) in Operator::all().zip(factors) {
        fitted.of_mut(operator).row_us *= speed * factor;
    }
    fitted
}

impl Run {
    fn new(model: &CostModel, steps: &[Observed], us: f64) -> Self {
        let (mut parts, mut startups) = ([0.0; OPERATOR_COUNT], 0.0);
        for step in steps {
            let cost = model.of(step.operator);
            startups += cost.startup_us;
            if let Some(part) = parts.get_mut(step.operator as usize) {
                *part += cost.row_us * step.operator.work(step.rows);
            }
        }
        Self {
            parts,
            us: (us - startups).max(US_MIN),
        }
    }

    fn predicted(&self, factors: &Vector) -> f64 {
        self.parts
            .iter()
            .zip(factors)
            .map(|(part, factor)| part * factor)
            .sum::<f64>()
            .max(US_MIN)
    }
}

/// One round: weights by the errors of `factors`, and the factors that are best with these weights.
fn solved(runs: &[Run], factors: &Vector) -> Vector {
    let (mut products, mut target) = ([[0.0; OPERATOR_COUNT]; OPERATOR_COUNT], [RIDGE; OPERATOR_COUNT]);
    for run in runs {
        let predicted = run.predicted(factors);
        let error = (run.us / predicted).ln().abs();
        let weight = (OUTLIER / error).min(1.0) / (predicted * run.us);
        for (row, (aim, part)) in products.iter_mut().zip(target.iter_mut().zip(run.parts)) {
            *aim += weight * part * run.us;
            for (product, other) in row.iter_mut().zip(run.parts) {
                *product += weight * part * other;
            }
        }
    }
    let mut best = *factors;
    for _ in 0..SWEEPS {
        for (place, (row, aim)) in products.iter().zip(target).enumerate() {
            let all: f64 = row
                .iter()
                .zip(best)
                .map(|(product, factor)| product * factor)
                .sum();
            if let (Some(factor), Some(own)) = (best.get_mut(place), row.get(place)) {
                let others = all - own * *factor;
                *factor = ((aim - others) / (own + RIDGE)).clamp(1.0 / FACTOR_MAX, FACTOR_MAX);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::fitted;
    use crate::cost::correction::Observed;
    use crate::cost::{CostModel, Operator};

    fn step(operator: Operator, rows: f64) -> Observed {
        Observed { operator, rows }
    }

    /// Runs on a machine whose coefficients are known, with noise and some that another program disturbed.
    fn runs(rng: &mut fastrand::Rng, count: usize, noise: f64) -> Vec<(Vec<Observed>, f64)> {
        let run = |_| {
            let rows = 10.0 * 1e3_f64.powf(rng.f64());
            let fetched = rows * rng.f64();
            let steps = vec![
                step(Operator::Statement, 1.0),
                step(Operator::FtsMatch, rows),
                step(Operator::RowFetch, fetched),
            ];
            let disturbed = if rng.usize(..10) == 0 { 5.0 } else { 1.0 };
            let factor = (noise * (rng.f64() - 0.5)).exp() * disturbed;
            (steps, (600.0 + 0.09 * rows + 0.3 * fetched) * factor)
        };
        (0..count).map(run).collect()
    }

    #[test]
    fn slopes_and_fixed_costs_come_apart_and_outliers_count_little() {
        let mut rng = fastrand::Rng::with_seed(5);
        let learnt = fitted(&CostModel::default(), &runs(&mut rng, 1_500, 0.2));
        for (operator, truth) in [
            (Operator::Statement, 600.0),
            (Operator::FtsMatch, 0.09),
            (Operator::RowFetch, 0.3),
        ] {
            let found = learnt.of(operator).row_us;
            assert!((found / truth).ln().abs() < 0.25, "{operator:?}: {found}");
        }
    }

    #[test]
    fn what_no_run_shows_follows_the_machine() {
        let model = CostModel::default();
        let us = model.of(Operator::Sort).row_us;
        let steps = vec![step(Operator::RowFetch, 1e4)];
        let time = 4.0 * model.of(Operator::RowFetch).row_us * 1e4;
        let learnt = fitted(&model, &vec![(steps, time); 30]);
        assert!((learnt.of(Operator::Sort).row_us / us / 4.0 - 1.0).abs() < 0.01);
    }

    #[test]
    fn nothing_teaches_nothing() {
        let model = CostModel::default();
        assert_eq!(fitted(&model, &[]), model);
        let idle = vec![(vec![step(Operator::FtsMatch, 0.0)], 50.0)];
        assert_eq!(fitted(&model, &idle), model);
    }
}
