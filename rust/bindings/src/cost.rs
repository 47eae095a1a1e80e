//! `CostEstimator`: nested tuples in, numbers out, over a [`retain_core::cost::Estimator`].

use std::collections::HashMap;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use retain_core::CoreError;
use retain_core::cost::{
    self, Coefficients, Corrections, CostModel, Estimator, Interval, Learnt, Multiplicity, Observed,
    Operator, Planned, Price, Question, Reading, Statistics, Step, Way, Weighed,
};

use crate::error::to_python;
use crate::filters::filter;
use crate::guarded::Guarded;

type Triple = (f64, f64, f64);
/// Tree, words, rows of each word, what looking them up takes, rows wanted.
type Asked<'py> = (Bound<'py, PyAny>, usize, Option<Vec<f64>>, Option<Triple>, f64);
/// A way and its driver, its steps, the rows of the filter, microseconds, bytes, rows to rank ahead, and
/// the other ways with their drivers and microseconds.
type NamedPlan<'py> = (
    (Bound<'py, PyString>, Option<usize>),
    Vec<NamedStep<'py>>,
    Triple,
    Triple,
    Triple,
    f64,
    Vec<Rejected<'py>>,
);
/// Steps with rows, and microseconds.
type Run<'py> = (Vec<(Bound<'py, PyString>, f64)>, f64);
type Rejected<'py> = (Bound<'py, PyString>, Option<usize>, f64);
type NamedStep<'py> = (Bound<'py, PyString>, Triple);

#[pyclass(frozen, module = "retain._core")]
pub(crate) struct CostEstimator {
    estimator: Guarded<Estimator>,
}

#[pymethods]
impl CostEstimator {
    #[new]
    #[pyo3(signature = (coefficients=None, corrections=None))]
    fn new(
        py: Python<'_>,
        coefficients: Option<HashMap<String, Triple>>,
        corrections: Option<HashMap<String, (f64, f64)>>,
    ) -> PyResult<Self> {
        let mut model = CostModel::default();
        for (name, (startup_us, row_us, row_bytes)) in coefficients.unwrap_or_default() {
            let to = Coefficients {
                startup_us,
                row_us,
                row_bytes,
            };
            let outcome = name.parse().and_then(|operator| model.set(operator, to));
            outcome.map_err(|error| to_python(py, &error))?;
        }
        let mut estimator = Estimator::new(model);
        if let Some(corrections) = corrections {
            estimator.restore(&learnt(&corrections)?);
        }
        Ok(Self {
            estimator: Guarded::new(estimator),
        })
    }

    fn set_total(&self, py: Python<'_>, rows: i64) -> PyResult<()> {
        let rows = count("rows", rows)?;
        self.estimator
            .with(py, |estimator| estimator.statistics_mut().set_total(rows));
        Ok(())
    }

    #[pyo3(signature = (field, counts, distinct, rows, multi_valued=None))]
    fn set_values(
        &self,
        py: Python<'_>,
        field: &str,
        counts: Vec<(String, i64)>,
        distinct: i64,
        rows: i64,
        multi_valued: Option<bool>,
    ) -> PyResult<()> {
        let counts = counts
            .into_iter()
            .map(|(value, n)| Ok((value, count("counts", n)?)));
        let counts = counts.collect::<PyResult<_>>()?;
        let (distinct, rows) = (count("distinct", distinct)?, count("rows", rows)?);
        let multiplicity = match multi_valued {
            None => Multiplicity::Unknown,
            Some(false) => Multiplicity::Single,
            Some(true) => Multiplicity::Multiple,
        };
        let outcome = self.estimator.with(py, |estimator| {
            estimator
                .statistics_mut()
                .set_values(field, counts, distinct, rows, multiplicity)
        });
        outcome.map_err(|error| to_python(py, &error))
    }

    fn set_sample(&self, py: Python<'_>, field: &str, values: Vec<String>, entries: i64) -> PyResult<()> {
        let entries = count("entries", entries)?;
        self.estimator.with(py, |estimator| {
            estimator.statistics_mut().set_sample(field, values, entries);
        });
        Ok(())
    }

    fn set_histogram(&self, py: Python<'_>, field: &str, bounds: Vec<i64>, rows: i64) -> PyResult<()> {
        let rows = count("rows", rows)?;
        let outcome = self.estimator.with(py, |estimator| {
            estimator.statistics_mut().set_histogram(field, bounds, rows)
        });
        outcome.map_err(|error| to_python(py, &error))
    }

    fn rows(&self, tree: &Bound<'_, PyAny>) -> PyResult<Triple> {
        let filter = filter(tree, 0)?;
        let rows = self
            .estimator
            .with(tree.py(), |estimator| estimator.statistics().rows(&filter));
        Ok(triple(rows))
    }

    #[pyo3(signature = (tree, words, postings, reading, limit, *, choose=true))]
    fn plan<'py>(
        &self,
        tree: &Bound<'py, PyAny>,
        words: usize,
        postings: Option<Vec<f64>>,
        reading: Option<Triple>,
        limit: f64,
        choose: bool,
    ) -> PyResult<NamedPlan<'py>> {
        let py = tree.py();
        let question = question(tree, words, postings, reading, limit, choose)?;
        let (statistics, model) = self.snapshot(py);
        Ok(named_plan(py, &cost::plan(&statistics, &model, &question)))
    }

    fn ways<'py>(
        &self,
        tree: &Bound<'py, PyAny>,
        words: usize,
        postings: Option<Vec<f64>>,
        reading: Option<Triple>,
        limit: f64,
    ) -> PyResult<Vec<NamedPlan<'py>>> {
        let py = tree.py();
        let question = question(tree, words, postings, reading, limit, true)?;
        let (statistics, model) = self.snapshot(py);
        let planned = cost::plan(&statistics, &model, &question);
        let alone = |way: &Weighed| named_way(py, &planned, way, Vec::new());
        Ok(std::iter::once(&planned.best)
            .chain(&planned.others)
            .map(alone)
            .collect())
    }

    #[pyo3(signature = (questions, *, choose=true))]
    fn plan_many<'py>(
        &self,
        py: Python<'py>,
        questions: Vec<Asked<'py>>,
        choose: bool,
    ) -> PyResult<Vec<NamedPlan<'py>>> {
        let questions = questions
            .into_iter()
            .map(|(tree, words, postings, reading, limit)| {
                question(&tree, words, postings, reading, limit, choose)
            });
        let questions = questions.collect::<PyResult<Vec<_>>>()?;
        let (statistics, model) = self.snapshot(py);
        let plan = |question| cost::plan(&statistics, &model, question);
        let plans: Vec<_> = py.detach(|| questions.iter().map(plan).collect());
        Ok(plans.iter().map(|planned| named_plan(py, planned)).collect())
    }

    #[pyo3(signature = (steps, way=None))]
    fn price<'py>(
        &self,
        py: Python<'py>,
        steps: Vec<NamedStep<'py>>,
        way: Option<&str>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let steps = plan(py, &steps)?;
        let model = self.estimator.with(py, |estimator| estimator.model());
        let price = match way {
            None => model.price(&steps),
            Some(name) => model.price_of(way_named(py, name)?, &steps),
        };
        priced(py, &price)
    }

    fn price_many<'py>(
        &self,
        py: Python<'py>,
        plans: Vec<Vec<NamedStep<'py>>>,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let plans = plans.iter().map(|steps| plan(py, steps));
        let plans = plans.collect::<PyResult<Vec<_>>>()?;
        let model = self.estimator.with(py, |estimator| estimator.model());
        let prices: Vec<Price> = py.detach(|| plans.iter().map(|steps| model.price(steps)).collect());
        prices.iter().map(|price| priced(py, price)).collect()
    }

    fn observe(
        &self,
        py: Python<'_>,
        way: &str,
        steps: Vec<(Bound<'_, PyString>, f64)>,
        estimated_us: f64,
        actual_us: f64,
    ) -> PyResult<()> {
        let way = way_named(py, way)?;
        let observed = run(&steps)?;
        let outcome = self.estimator.with(py, |estimator| {
            estimator.observe(way, &observed, estimated_us, actual_us)
        });
        outcome.map_err(|error| to_python(py, &error))
    }

    fn calibrate(&self, py: Python<'_>, runs: Vec<Run<'_>>) -> PyResult<()> {
        let runs = runs.iter().map(|(steps, us)| Ok((run(steps)?, *us)));
        let runs = runs.collect::<PyResult<Vec<_>>>()?;
        let outcome = self.estimator.with(py, |estimator| estimator.calibrate(&runs));
        outcome.map_err(|error| to_python(py, &error))
    }

    fn coefficients<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let model = self.estimator.with(py, |estimator| estimator.model());
        let named = PyDict::new(py);
        for (name, of) in model.iter() {
            named.set_item(name, (of.startup_us, of.row_us, of.row_bytes))?;
        }
        Ok(named)
    }

    fn corrections<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let learnt = self.estimator.with(py, |estimator| estimator.learnt());
        let named = PyDict::new(py);
        named.set_item(MACHINE, (learnt.machine.factor, learnt.machine.count))?;
        for (way, own) in Way::ALL.into_iter().zip(learnt.ways) {
            named.set_item(way.name(), (own.factor, own.count))?;
        }
        Ok(named)
    }

    fn factors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let model = self.estimator.with(py, |estimator| estimator.model());
        let named = PyDict::new(py);
        for way in Way::ALL {
            named.set_item(way.name(), model.factor(way))?;
        }
        Ok(named)
    }

    fn q_error<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let q_error = self.estimator.with(py, |estimator| estimator.q_error());
        let named = PyDict::new(py);
        named.set_item("count", q_error.count)?;
        named.set_item("median", q_error.median)?;
        named.set_item("p95", q_error.p95)?;
        Ok(named)
    }
}

impl CostEstimator {
    /// What planning needs, so that it holds no lock.
    fn snapshot(&self, py: Python<'_>) -> (Arc<Statistics>, CostModel) {
        self.estimator
            .with(py, |estimator| (estimator.statistics(), estimator.model()))
    }
}

fn question(
    tree: &Bound<'_, PyAny>,
    words: usize,
    postings: Option<Vec<f64>>,
    reading: Option<Triple>,
    limit: f64,
    choose: bool,
) -> PyResult<Question> {
    Ok(Question {
        filter: filter(tree, 0)?,
        words,
        postings,
        reading: reading.map(|(stems, walked, skipped)| Reading {
            stems,
            walked,
            skipped,
        }),
        limit,
        choose,
    })
}

fn named_plan<'py>(py: Python<'py>, planned: &Planned) -> NamedPlan<'py> {
    let rejected = planned.others.iter().map(|other| {
        (
            PyString::intern(py, other.way.name()),
            other.driver,
            other.price.us.expected,
        )
    });
    named_way(py, planned, &planned.best, rejected.collect())
}

fn named_way<'py>(
    py: Python<'py>,
    planned: &Planned,
    way: &Weighed,
    rejected: Vec<Rejected<'py>>,
) -> NamedPlan<'py> {
    let steps = way
        .steps
        .iter()
        .map(|step| (PyString::intern(py, step.operator.name()), triple(step.rows)));
    (
        (PyString::intern(py, way.way.name()), way.driver),
        steps.collect(),
        triple(planned.rows),
        triple(way.price.us),
        triple(way.price.bytes),
        planned.ahead,
        rejected,
    )
}

/// The steps of an execution.
fn run(steps: &[(Bound<'_, PyString>, f64)]) -> PyResult<Vec<Observed>> {
    let steps = steps.iter().map(|(name, rows)| {
        let operator = operator(name)?;
        Ok(Observed {
            operator,
            rows: *rows,
        })
    });
    steps.collect()
}

/// The steps of a plan, checked.
fn plan(py: Python<'_>, steps: &[NamedStep<'_>]) -> PyResult<Vec<Step>> {
    let checked = steps
        .iter()
        .enumerate()
        .map(|(index, (name, (min, expected, max)))| {
            let rows = Interval::new(format_args!("steps[{index}].rows"), *min, *expected, *max);
            let rows = rows.map_err(|error| to_python(py, &error))?;
            Ok(Step {
                operator: operator(name)?,
                rows,
            })
        });
    checked.collect()
}

/// What is kept of the machine itself, beside the ways.
const MACHINE: &str = "machine";

fn learnt(named: &HashMap<String, (f64, f64)>) -> PyResult<Corrections> {
    let of = |name: &str| {
        let (factor, count) = named.get(name).copied().unwrap_or((1.0, 0.0));
        if factor.is_finite() && factor > 0.0 && count.is_finite() && count >= 0.0 {
            return Ok(Learnt { factor, count });
        }
        let message =
            format!("corrections[{name:?}]: must be a factor above 0 and a count, not ({factor}, {count})");
        Err(PyValueError::new_err(message))
    };
    let mut ways = Way::ALL.map(|_| Learnt {
        factor: 1.0,
        count: 0.0,
    });
    for (own, way) in ways.iter_mut().zip(Way::ALL) {
        *own = of(way.name())?;
    }
    Ok(Corrections {
        machine: of(MACHINE)?,
        ways,
    })
}

fn way_named(py: Python<'_>, name: &str) -> PyResult<Way> {
    name.parse().map_err(|error: CoreError| to_python(py, &error))
}

fn operator(name: &Bound<'_, PyString>) -> PyResult<Operator> {
    let operator = name.to_cow()?.parse();
    operator.map_err(|error: CoreError| to_python(name.py(), &error))
}

fn priced<'py>(py: Python<'py>, price: &Price) -> PyResult<Bound<'py, PyDict>> {
    let named = PyDict::new(py);
    named.set_item("us", triple(price.us))?;
    named.set_item("bytes", triple(price.bytes))?;
    Ok(named)
}

fn triple(interval: Interval) -> Triple {
    (interval.min, interval.expected, interval.max)
}

fn count(field: &str, value: i64) -> PyResult<u64> {
    let problem = |_| PyValueError::new_err(format!("{field}: must be at least 0, not {value}"));
    u64::try_from(value).map_err(problem)
}
