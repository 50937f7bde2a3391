//! The plans of products, those that need somebody first.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use minijinja::Value;

use super::list::{LISTING, notice};
use super::{base, playbook_link, show};
use crate::dashboard::app::{App, Visitor};
use crate::dashboard::board::Standing;
use crate::dashboard::playbook_row::PlaybookRow;
use crate::dashboard::text::{context, value};

/// Most rows: there are few plans, and those that need somebody come first.
const MOST: usize = 500;

/// The page.
pub async fn page(State(app): State<Arc<App>>, visitor: Visitor) -> Response {
    let circle = visitor.person.circle();
    circle.playbooks.mark_used();
    let board = &circle.playbooks.board;
    board.listed(LISTING).await;
    let mut rows = board.rows();
    rows.sort_by(|a, b| (a.group, &a.id).cmp(&(b.group, &b.id)));
    let total = rows.len();
    rows.truncate(MOST);
    let standing = board.standing();
    let values = context! {
        total,
        rows => rows.iter().map(|row| row_values(row)).collect::<Vec<Value>>(),
        left_out => total - rows.len(),
        notice => notice(&standing),
        is_live => standing == Standing::Live,
        follows => "playbooks",
        ..base(&app, Some(&visitor), "playbooks")
    };
    show(&app, "playbooks.html", values)
}

/// A row as templates read it.
pub(super) fn row_values(row: &PlaybookRow) -> Value {
    context! { link => playbook_link(&row.id.namespace, &row.id.name), ..value(row) }
}
