//! `CostEstimator`: nested tuples in, numbers out, over a [`retain_core::cost::Estimator`].

use std::collections::HashMap;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use retain_core::CoreError;
use retain_core::cost::{
    Coefficients, CostModel, Estimator, Filter, Interval, Multiplicity, Observed, Operator, Price, Step,
};

use crate::error::to_python;
use crate::guarded::Guarded;

/// How deep a filter tree may be nested.
const FILTER_DEPTH_MAX: usize = 100;

type Triple = (f64, f64, f64);
type NamedStep<'py> = (Bound<'py, PyString>, Triple);

#[pyclass(frozen, module = "retain._core")]
pub(crate) struct CostEstimator {
    estimator: Guarded<Estimator>,
}

#[pymethods]
impl CostEstimator {
    #[new]
    #[pyo3(signature = (coefficients=None))]
    fn new(py: Python<'_>, coefficients: Option<HashMap<String, Triple>>) -> PyResult<Self> {
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
        Ok(Self {
            estimator: Guarded::new(Estimator::new(model)),
        })
    }

    fn set_total(&self, py: Python<'_>, rows: i64) -> PyResult<()> {
        let rows = count("rows", rows)?;
        self.estimator
            .with(py, |estimator| estimator.statistics.set_total(rows));
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
                .statistics
                .set_values(field, counts, distinct, rows, multiplicity)
        });
        outcome.map_err(|error| to_python(py, &error))
    }

    fn set_histogram(&self, py: Python<'_>, field: &str, bounds: Vec<i64>, rows: i64) -> PyResult<()> {
        let rows = count("rows", rows)?;
        let outcome = self.estimator.with(py, |estimator| {
            estimator.statistics.set_histogram(field, bounds, rows)
        });
        outcome.map_err(|error| to_python(py, &error))
    }

    fn rows(&self, tree: &Bound<'_, PyAny>) -> PyResult<Triple> {
        let filter = filter(tree, 0)?;
        let rows = self
            .estimator
            .with(tree.py(), |estimator| estimator.statistics.rows(&filter));
        Ok(triple(rows))
    }

    fn price<'py>(&self, py: Python<'py>, steps: Vec<NamedStep<'py>>) -> PyResult<Bound<'py, PyDict>> {
        let steps = plan(py, &steps)?;
        let model = self.estimator.with(py, |estimator| estimator.model());
        priced(py, &model.price(&steps))
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
        steps: Vec<(Bound<'_, PyString>, f64)>,
        actual_us: f64,
    ) -> PyResult<()> {
        let mut observed = Vec::with_capacity(steps.len());
        for (name, rows) in &steps {
            let operator = operator(name)?;
            observed.push(Observed {
                operator,
                rows: *rows,
            });
        }
        let outcome = self
            .estimator
            .with(py, |estimator| estimator.observe(&observed, actual_us));
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

    fn q_error<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let q_error = self.estimator.with(py, |estimator| estimator.q_error());
        let named = PyDict::new(py);
        named.set_item("count", q_error.count)?;
        named.set_item("median", q_error.median)?;
        named.set_item("p95", q_error.p95)?;
        Ok(named)
    }
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

/// The filter that a nested tuple stands for.
fn filter(tree: &Bound<'_, PyAny>, depth: usize) -> PyResult<Filter> {
    if depth > FILTER_DEPTH_MAX {
        let message = format!("tree: must not be nested deeper than {FILTER_DEPTH_MAX}");
        return Err(PyValueError::new_err(message));
    }
    let node = tree.cast::<PyTuple>()?;
    let parts = |index| {
        let parts = node.get_item(index)?;
        parts
            .try_iter()?
            .map(|part| filter(&part?, depth + 1))
            .collect::<PyResult<Vec<_>>>()
    };
    let text = |index| node.get_item(index)?.extract::<String>();
    let name = text(0)?;
    Ok(match (name.as_str(), node.len()) {
        ("all", 1) => Filter::All,
        ("and", 2) => Filter::And(parts(1)?),
        ("or", 2) => Filter::Or(parts(1)?),
        ("not", 2) => Filter::Not(Box::new(filter(&node.get_item(1)?, depth + 1)?)),
        ("in", 3) => {
            let values = node.get_item(2)?;
            let values = values.try_iter()?.map(|value| value?.extract());
            Filter::In {
                field: text(1)?,
                values: values.collect::<PyResult<_>>()?,
            }
        }
        ("glob", 3) => Filter::Glob {
            field: text(1)?,
            pattern: text(2)?,
        },
        ("range", 4) => Filter::Range {
            field: text(1)?,
            low: node.get_item(2)?.extract()?,
            high: node.get_item(3)?.extract()?,
        },
        (name, len) => {
            let message = format!("tree: no node {name:?} with {} operands", len - 1);
            return Err(PyValueError::new_err(message));
        }
    })
}
