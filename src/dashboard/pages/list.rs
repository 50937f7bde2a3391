//! The rollouts, those that need attention first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use futures::future::join_all;
use minijinja::Value;

use super::breach::breach_words;
use super::{base, link, query, rollout_link, row_values, show};
use crate::api::MicroTime;
use crate::api::rolloutaction::Action;
use crate::dashboard::access::Rules;
use crate::dashboard::app::{App, Visitor};
use crate::dashboard::board::Standing;
use crate::dashboard::form::Fields;
use crate::dashboard::person::Person;
use crate::dashboard::row::{Group, Id, Row};
use crate::dashboard::text::context;

/// Rows on one page: those that need somebody come first, so few look at a second one.
const PAGE: usize = 100;
/// Rows in breach that are told with the unit of what is measured, which takes a request or more for each.
const MOST_WITH_UNIT: usize = 20;
/// How long the first list may take before the page is shown without it.
pub(super) const LISTING: Duration = Duration::from_secs(4);

/// What the rows are filtered by, each as it stands in the address; empty for everything.
struct Filter<'a> {
    q: &'a str,
    namespace: &'a str,
    state: &'a str,
    owner: &'a str,
    group: &'a str,
}

impl<'a> Filter<'a> {
    fn of(fields: &'a Fields) -> Filter<'a> {
        let field = |name| fields.text(name).unwrap_or_default();
        Filter {
            q: field("q"),
            namespace: field("namespace"),
            state: field("state"),
            owner: field("owner"),
            group: field("group"),
        }
    }

    /// Whether a row fits, whatever its group is.
    fn fits(&self, row: &Row, lowercase: &str) -> bool {
        let is = |wanted: &str, value: &str| wanted.is_empty() || wanted == value;
        is(self.namespace, &row.id.namespace)
            && is(self.state, &row.state)
            && is(self.owner, &row.owner)
            && (lowercase.is_empty() || row.has(lowercase))
    }

    fn link(&self, group: &str, from: usize) -> String {
        let from = if from == 0 { String::new() } else { from.to_string() };
        link(
            "/",
            &[
                ("q", self.q),
                ("namespace", self.namespace),
                ("state", self.state),
                ("owner", self.owner),
                ("group", group),
                ("from", &from),
            ],
        )
    }
}

/// The page.
pub async fn page(State(app): State<Arc<App>>, visitor: Visitor, uri: Uri) -> Response {
    let fields = query(&uri);
    let person = &visitor.person;
    let circle = person.circle();
    let board = &circle.rollouts.board;
    board.listed(LISTING).await;
    let rows = board.rows();
    let filter = Filter::of(&fields);
    let from = fields.text("from").and_then(|from| from.parse().ok()).unwrap_or(0);
    let found = Found::among(&rows, &filter, from);
    let (rules, breaches) = tokio::join!(rules(person, &found.page), breaches(&app, &visitor, &found.page));
    let values = context! {
        notice => notice(&board.standing()),
        standing => if board.standing() == Standing::Live { "live" } else { "" },
        ..context! { ..found.values(&filter, &rules, &breaches), ..base(&app, Some(&visitor), "rollouts") }
    };
    show(&app, "list.html", values)
}

/// What people are told where not everything is known.
pub(super) fn notice(standing: &Standing) -> Option<String> {
    match standing {
        Standing::Live => None,
        Standing::Listing => Some("what there is is still being listed".to_owned()),
        Standing::Lost(since, why) => {
            let seconds = since.elapsed().as_secs();
            Some(format!("the API server cannot be reached since {seconds} s, what you see is older: {why}"))
        }
        Standing::Refused(why) => Some(why.clone()),
    }
}

/// What may be done in the namespaces of these rows.
async fn rules(person: &Person, rows: &[Arc<Row>]) -> BTreeMap<String, Rules> {
    let namespaces: BTreeSet<&str> = rows.iter().map(|row| row.id.namespace.as_str()).collect();
    let asked = join_all(namespaces.iter().map(|namespace| person.access.rules(namespace))).await;
    namespaces.into_iter().map(str::to_owned).zip(asked).collect()
}

/// Of the first rows that are in breach, what they say with the unit of what is measured.
async fn breaches(app: &App, visitor: &Visitor, rows: &[Arc<Row>]) -> BTreeMap<Id, String> {
    let breached = rows.iter().filter(|row| row.breach.is_some()).take(MOST_WITH_UNIT);
    let told = join_all(
        breached.map(async |row| Some((row.id.clone(), breach_words(app, visitor, row, None).await?))),
    );
    told.await.into_iter().flatten().collect()
}

/// The rows that fit, in order, and what the filters offer.
struct Found {
    page: Vec<Arc<Row>>,
    from: usize,
    shown: usize,
    total: usize,
    counts: [usize; Group::ALL.len()],
    namespaces: BTreeSet<String>,
    states: BTreeSet<String>,
    owners: BTreeSet<String>,
}

impl Found {
    fn among(rows: &[Arc<Row>], filter: &Filter<'_>, from: usize) -> Found {
        let lowercase = filter.q.to_lowercase();
        let fitting: Vec<&Arc<Row>> = rows.iter().filter(|row| filter.fits(row, &lowercase)).collect();
        let counts = Group::ALL.map(|group| fitting.iter().filter(|row| row.group == group).count());
        let mut shown: Vec<&Arc<Row>> = fitting
            .into_iter()
            .filter(|row| filter.group.is_empty() || row.group.key() == filter.group)
            .collect();
        // Within a group what has been so for the shortest time is the news.
        let newest = |row: &Row| std::cmp::Reverse(row.since.unwrap_or(MicroTime::MIN));
        shown.sort_by(|a, b| (a.group, newest(a), &a.id).cmp(&(b.group, newest(b), &b.id)));
        let from = if from < shown.len() { from } else { 0 };
        // What is chosen is offered although no row is like that any more, so that it is seen to be chosen.
        let of = |text: fn(&Row) -> &str, chosen: &str| -> BTreeSet<String> {
            let all = rows.iter().map(|row| text(row)).chain([chosen]);
            all.filter(|text| !text.is_empty()).map(str::to_owned).collect()
        };
        Found {
            from,
            shown: shown.len(),
            total: rows.len(),
            counts,
            namespaces: of(|row| &row.id.namespace, filter.namespace),
            states: of(|row| &row.state, filter.state),
            owners: of(|row| &row.owner, filter.owner),
            page: shown.into_iter().skip(from).take(PAGE).cloned().collect(),
        }
    }

    fn values(
        &self,
        filter: &Filter<'_>,
        rules: &BTreeMap<String, Rules>,
        breaches: &BTreeMap<Id, String>,
    ) -> Value {
        let row = |row: &Arc<Row>| {
            let why = breaches.get(&row.id).unwrap_or(&row.why);
            let may = |rules: &Rules| rules.may(Action::Rollback, &row.id.name);
            // Nothing is taken from nobody.
            let offered = row.exposed && rules.get(&row.id.namespace).is_some_and(may);
            let rollback = format!("{}/rollback", rollout_link(&row.id.namespace, &row.id.name));
            context! { rollback => offered.then_some(rollback), why, ..row_values(row) }
        };
        let group = |(group, count): (Group, usize)| {
            let (key, title) = (group.key(), group.title());
            context! { key, title, count, link => filter.link(key, 0) }
        };
        let end = self.from + self.page.len();
        let previous = (self.from > 0).then(|| filter.link(filter.group, self.from.saturating_sub(PAGE)));
        let next = (end < self.shown).then(|| filter.link(filter.group, end));
        context! {
            rows => self.page.iter().map(row).collect::<Vec<Value>>(),
            groups => Group::ALL.into_iter().zip(self.counts).map(group).collect::<Vec<Value>>(),
            fitting => self.counts.iter().sum::<usize>(),
            all_link => filter.link("", 0),
            total => self.total,
            shown => self.shown,
            more => self.shown > PAGE,
            from => self.from + 1,
            to => end,
            page_size => PAGE,
            previous, next,
            namespaces => self.namespaces,
            states => self.states,
            owners => self.owners,
            q => filter.q,
            namespace => filter.namespace,
            state_is => filter.state,
            owner => filter.owner,
            group => filter.group,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, group: Group, since: &str) -> Arc<Row> {
        Arc::new(Row {
            id: Id { namespace: "maya".to_owned(), name: name.to_owned() },
            title: name.to_uppercase(),
            state: group.title().to_owned(),
            group,
            since: since.parse().ok(),
            ..Row::default()
        })
    }

    fn names(found: &Found) -> Vec<&str> {
        found.page.iter().map(|row| row.id.name.as_str()).collect()
    }

    fn fields(text: &str) -> Fields {
        Fields::read(text.as_bytes())
    }

    #[test]
    fn what_needs_somebody_comes_first_and_news_before_what_is_old() {
        let rows = [
            row("a", Group::Finished, "2025-09-09T00:00:00Z"),
            row("b", Group::Waiting, "2025-09-01T00:00:00Z"),
            row("c", Group::Attention, "2025-09-01T00:00:00Z"),
            row("d", Group::Person, "2025-09-01T00:00:00Z"),
            row("e", Group::Attention, "2025-09-02T00:00:00Z"),
        ];
        let all = fields("");
        assert_eq!(names(&Found::among(&rows, &Filter::of(&all), 0)), ["e", "c", "d", "b", "a"]);
        let some = fields("group=attention&q=C");
        let found = Found::among(&rows, &Filter::of(&some), 0);
        assert_eq!((names(&found), found.total, found.shown), (vec!["c"], 5, 1));
        assert_eq!(found.counts, [1, 0, 0, 0, 0], "counts are of what fits, whatever its group");
        for nothing in ["q=zzz", "namespace=other", "state=Odd", "owner=nobody", "group=odd"] {
            let nothing = fields(nothing);
            assert!(Found::among(&rows, &Filter::of(&nothing), 0).page.is_empty());
        }
    }

    #[test]
    fn a_breach_is_told_with_its_unit_where_that_is_known() {
        let rows = ["a", "b"].map(|name| {
            let row = Row::clone(&row(name, Group::Attention, "2025-09-09T00:00:00Z"));
            Arc::new(Row { why: format!("{name} is in breach at 12"), ..row })
        });
        let all = fields("");
        let filter = Filter::of(&all);
        let known = BTreeMap::from([(rows[0].id.clone(), "a is in breach at 12%".to_owned())]);
        let values = Found::among(&rows, &filter, 0).values(&filter, &BTreeMap::new(), &known);
        let told = |i: usize| {
            let rows = values.get_attr("rows").unwrap();
            rows.get_item_by_index(i).unwrap().get_attr("why").unwrap().to_string()
        };
        assert_eq!([told(0), told(1)], ["a is in breach at 12%", "b is in breach at 12"]);
    }

    #[test]
    fn a_state_that_no_row_has_any_more_is_still_shown_as_chosen() {
        let rows = [row("a", Group::Finished, "2025-09-09T00:00:00Z")];
        let paused = fields("state=Paused");
        let found = Found::among(&rows, &Filter::of(&paused), 0);
        assert!(found.page.is_empty());
        assert_eq!(found.states.iter().map(String::as_str).collect::<Vec<_>>(), ["Finished", "Paused"]);
    }

    #[test]
    fn long_lists_have_pages() {
        let rows: Vec<Arc<Row>> =
            (0..250).map(|i| row(&format!("r{i:03}"), Group::Waiting, "2025-09-01T00:00:00Z")).collect();
        let all = fields("");
        let filter = Filter::of(&all);
        let lengths = [0, 100, 200, 250, 9_999].map(|from| Found::among(&rows, &filter, from).page.len());
        assert_eq!(lengths, [100, 100, 50, 100, 100]);
        assert_eq!(names(&Found::among(&rows, &filter, 200))[0], "r200");
    }
}
