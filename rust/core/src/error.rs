//! The one error type of this crate.

use std::fmt;

/// Why a call was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoreError {
    /// A named input is outside its bounds.
    Invalid {
        /// The name of the input, as the caller wrote it.
        field: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// The queue holds as many items as it may.
    QueueFull {
        /// The bound, in items.
        capacity: usize,
        /// How many items the refused call brought.
        offered: usize,
    },
}

impl CoreError {
    /// An [`CoreError::Invalid`] for `field`.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { field, problem } => write!(f, "{field}: {problem}"),
            Self::QueueFull { capacity, offered } => {
                write!(
                    f,
                    "the queue is full: {offered} more would exceed its capacity of {capacity}"
                )
            }
        }
    }
}

impl std::error::Error for CoreError {}

#[cfg(test)]
mod tests {
    use super::CoreError;

    #[test]
    fn an_error_names_the_field_or_the_bound() {
        let invalid = CoreError::invalid("ttl", "must be above 0");
        assert_eq!(invalid.to_string(), "ttl: must be above 0");
        let full = CoreError::QueueFull {
            capacity: 3,
            offered: 2,
        };
        assert!(full.to_string().contains("capacity of 3"));
    }
}
