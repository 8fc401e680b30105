//! The parser, on a stack that is large enough for what it is given.

use cel::Env;
use cel::common::ast::IdedExpr;

use crate::error::{Error, LimitExceeded};
use crate::lower::MAX_NESTING;

/// Most bytes of one expression.
const MAX_SOURCE: usize = 8 << 10;
/// Most characters that can open a level of nesting, such as brackets and unary operators.
const MAX_OPENINGS: usize = 2_000;
/// Below so many of them, the caller's own stack is enough.
const FEW_OPENINGS: usize = 12;
/// The parser recurses over every rule of the grammar; debug builds need about 10 KiB a level.
const STACK: usize = 64 << 20;

/// Parses `source` and hands the tree to `work`, both on a large stack where the source asks for one. The tree does
/// not leave that stack, because dropping it recurses as well.
pub(crate) fn with_syntax_tree<T: Send>(
    source: &str,
    work: impl FnOnce(&IdedExpr) -> T + Send,
) -> Result<T, Error> {
    if source.len() > MAX_SOURCE {
        return Err(Error::Limit(LimitExceeded::SourceLength { limit: MAX_SOURCE }));
    }
    let openings = source.bytes().filter(|byte| b"([{?!-+*/%&|<>=.".contains(byte)).count();
    if openings > MAX_OPENINGS {
        return Err(Error::Limit(LimitExceeded::Nesting { limit: MAX_NESTING }));
    }
    if openings <= FEW_OPENINGS {
        return parse(source).map(|tree| work(&tree));
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("expression".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, || parse(source).map(|tree| work(&tree)));
        let outcome = thread.ok().and_then(|thread| thread.join().ok());
        // No thread to be had, or a bug in the parser: the expression is refused, the process lives.
        outcome.unwrap_or_else(|| Err(syntax(0, 0, "the expression could not be parsed")))
    })
}

fn parse(source: &str) -> Result<IdedExpr, Error> {
    // No macros: they are resolved together with the names, where their variables are known.
    let parser = Env::default().parser().enable_ident_escape_syntax(true);
    parser.parse(source).map_err(|errors| {
        let first = errors.errors.first();
        first.map_or_else(
            || syntax(0, 0, "not an expression"),
            |error| {
                let (line, column) = error.pos;
                syntax(line, column, &error.msg)
            },
        )
    })
}

fn syntax(line: isize, column: isize, message: &str) -> Error {
    Error::Syntax {
        line: line.max(1).unsigned_abs(),
        column: column.max(1).unsigned_abs(),
        message: message.trim_start_matches("Syntax error: ").to_owned(),
    }
}
