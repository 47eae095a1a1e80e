//! Filter trees in, [`Filter`]s out: those of `retain.model`, and nested tuples.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use retain_core::cost::Filter;

/// How deep a filter tree may be nested.
const FILTER_DEPTH_MAX: usize = 100;

/// The filter that a tree of `retain.model` or of nested tuples stands for.
pub(crate) fn filter(tree: &Bound<'_, PyAny>, depth: usize) -> PyResult<Filter> {
    if tree.is_instance_of::<PyTuple>() {
        return of_tuples(tree, depth);
    }
    if depth > FILTER_DEPTH_MAX {
        let message = format!("tree: must not be nested deeper than {FILTER_DEPTH_MAX}");
        return Err(PyValueError::new_err(message));
    }
    let py = tree.py();
    let parts = || {
        let parts = tree.getattr(intern!(py, "parts"))?;
        let parts = parts.cast::<PyTuple>()?;
        parts
            .iter()
            .map(|part| filter(&part, depth + 1))
            .collect::<PyResult<Vec<_>>>()
    };
    let field = || tree.getattr(intern!(py, "field"))?.extract::<String>();
    let name = tree.get_type().name()?;
    Ok(match &*name.to_cow()? {
        "All" => Filter::And(parts()?),
        "AnyOf" => Filter::Or(parts()?),
        "Not" => Filter::Not(Box::new(filter(&tree.getattr(intern!(py, "part"))?, depth + 1)?)),
        "In" => Filter::In {
            field: field()?,
            values: tree.getattr(intern!(py, "values"))?.extract()?,
        },
        "Glob" => Filter::Glob {
            field: field()?,
            pattern: tree.getattr(intern!(py, "pattern"))?.extract()?,
        },
        "Between" => {
            let high: Option<i64> = tree.getattr(intern!(py, "high"))?.extract()?;
            Filter::Range {
                field: field()?,
                low: tree.getattr(intern!(py, "low"))?.extract()?,
                high: high.map(|high| high.saturating_sub(1)),
            }
        }
        other => {
            let message = format!("tree: {other} is no filter");
            return Err(PyTypeError::new_err(message));
        }
    })
}

fn of_tuples(tree: &Bound<'_, PyAny>, depth: usize) -> PyResult<Filter> {
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
