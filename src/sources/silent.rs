//! Shares such as failures by requests, which give no number at all until the first failure: an app that has never failed
//! has no series of failures.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::token::{T_DIV, T_LOR};
use promql_parser::parser::{Expr, VectorSelector};

/// Whether a query divides what some of a metric's series say by what all of them do, with nothing in the place of the part
/// where it has no series.
pub(super) fn divides_a_part(tree: &Expr) -> bool {
    match tree {
        Expr::Binary(binary) if binary.op.id() == T_LOR => false,
        Expr::Binary(binary) if binary.op.id() == T_DIV => {
            let (mut part, mut whole) = (Vec::new(), Vec::new());
            let filled = !selectors(&binary.lhs, &mut part);
            selectors(&binary.rhs, &mut whole);
            let is_part = |of: &&VectorSelector| whole.iter().any(|all| narrows(of, all));
            (!filled && part.iter().any(is_part))
                || divides_a_part(&binary.lhs)
                || divides_a_part(&binary.rhs)
        }
        Expr::Binary(binary) => divides_a_part(&binary.lhs) || divides_a_part(&binary.rhs),
        Expr::Paren(paren) => divides_a_part(&paren.expr),
        Expr::Unary(unary) => divides_a_part(&unary.expr),
        Expr::Aggregate(aggregate) => divides_a_part(&aggregate.expr),
        Expr::Call(call) => call.args.args.iter().any(|arg| divides_a_part(arg)),
        _ => false,
    }
}

/// Whether a selector asks for a value that another one of the same metric leaves open.
fn narrows(part: &VectorSelector, whole: &VectorSelector) -> bool {
    let asks = |matcher: &&Matcher| matches!(matcher.op, MatchOp::Equal | MatchOp::Re(_));
    let leaves_open =
        |matcher: &Matcher| !whole.matchers.matchers.iter().any(|other| other.name == matcher.name);
    part.name.is_some()
        && part.name == whole.name
        && part.matchers.matchers.iter().filter(asks).any(leaves_open)
}

/// The selectors below an expression. Says whether it has a number only where they have series: there is no `or` in it.
fn selectors<'e>(tree: &'e Expr, found: &mut Vec<&'e VectorSelector>) -> bool {
    match tree {
        Expr::VectorSelector(selector) => {
            found.push(selector);
            true
        }
        Expr::MatrixSelector(matrix) => {
            found.push(&matrix.vs);
            true
        }
        Expr::Aggregate(aggregate) => selectors(&aggregate.expr, found),
        Expr::Unary(unary) => selectors(&unary.expr, found),
        Expr::Paren(paren) => selectors(&paren.expr, found),
        Expr::Subquery(subquery) => selectors(&subquery.expr, found),
        Expr::Binary(binary) => {
            let bare = [&binary.lhs, &binary.rhs].map(|side| selectors(side, found));
            binary.op.id() != T_LOR && bare == [true, true]
        }
        Expr::Call(call) => {
            // Of every argument: a walk that stopped at the first `or` would miss selectors.
            let bare: Vec<bool> = call.args.args.iter().map(|arg| selectors(arg, found)).collect();
            bare.iter().all(|bare| *bare)
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => true,
    }
}
