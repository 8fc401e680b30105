/// Why an expression could not be compiled or evaluated.
///
/// Callers decide by variant, never by text.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The source is not an expression.
    #[error("syntax error at line {line}, column {column}: {message}")]
    Syntax {
        /// Line in the source, from 1.
        line: usize,
        /// Column in the source, from 1.
        column: usize,
        /// What the parser found wrong.
        message: String,
    },
    /// A variable that is not declared.
    #[error("undeclared reference to {name:?}")]
    UndeclaredReference {
        /// The name as written.
        name: String,
    },
    /// A function that does not exist.
    #[error("unknown function {name:?}")]
    UnknownFunction {
        /// The name as written.
        name: String,
    },
    /// A function or macro called with the wrong number or form of arguments.
    #[error("{function}: {message}")]
    InvalidCall {
        /// The function or macro.
        function: String,
        /// What it expects.
        message: String,
    },
    /// A declared variable that got no value for this evaluation.
    #[error("variable {name:?} has no value")]
    Unbound {
        /// The variable.
        name: String,
    },
    /// A key that the map does not have.
    #[error("no such key: {key}")]
    NoSuchKey {
        /// The missing key.
        key: String,
    },
    /// A list index that is negative or past the end.
    #[error("index {index} is out of range for a list of {length}")]
    IndexOutOfRange {
        /// The index asked for.
        index: String,
        /// Number of elements in the list.
        length: usize,
    },
    /// An operator or function that does not work on values of these types.
    #[error("no such overload: {operation} on ({})", types.join(", "))]
    NoSuchOverload {
        /// Operator or function.
        operation: String,
        /// Types of the values it was given.
        types: Vec<&'static str>,
    },
    /// An overflow, or a division by zero.
    #[error("{operation}: {problem}")]
    Arithmetic {
        /// The operator.
        operation: String,
        /// What went wrong.
        problem: &'static str,
    },
    /// A function got a value of the right type that it cannot work with.
    #[error("{function}: {message}")]
    InvalidArgument {
        /// The function.
        function: String,
        /// What is wrong with the value.
        message: String,
    },
    /// A map literal that has a key twice.
    #[error("the map has the key {key} more than once")]
    DuplicateKey {
        /// The repeated key.
        key: String,
    },
    /// A result of another type than the caller needs.
    #[error("the expression must give {expected}, not {actual}")]
    UnexpectedResult {
        /// What the caller needs.
        expected: &'static str,
        /// What the expression gave.
        actual: &'static str,
    },
    /// A limit on the expression or on its evaluation.
    #[error("{0}")]
    Limit(LimitExceeded),
}

/// The limit that was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// The source text is too long.
    #[error("the expression is longer than {limit} bytes")]
    SourceLength {
        /// The most bytes allowed.
        limit: usize,
    },
    /// The expression is nested too deeply.
    #[error("the expression is nested more than {limit} levels deep")]
    Nesting {
        /// The most levels allowed.
        limit: usize,
    },
    /// Evaluation takes too many steps or makes too much data.
    #[error(
        "the evaluation costs more than {limit} units; iterate over smaller lists or split the expression"
    )]
    Cost {
        /// The most units allowed.
        limit: u64,
    },
    /// The result is too large.
    #[error("the result is larger than {limit} bytes")]
    OutputSize {
        /// The most bytes allowed.
        limit: usize,
    },
    /// The result is nested too deeply.
    #[error("the result is nested more than {limit} levels deep")]
    OutputDepth {
        /// The most levels allowed.
        limit: usize,
    },
}
