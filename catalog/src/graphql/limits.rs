//! What a query may ask for. It is counted on the parsed document, before GraphQL's own rules look
//! at it and before anything is read; counting ends at the first limit that is passed, so that a
//! hostile query costs no more than a large one.

use async_graphql::{
    Name, Positioned, ServerError, Variables,
    parser::types::{ExecutableDocument, Field, FragmentDefinition, OperationDefinition, Selection, SelectionSet},
};
use kit::{
    http::{PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX},
    problem::Code,
};

/// A bound, and what it counts.
struct Limit {
    max: u64,
    counts: &'static str,
}

const DEPTH: Limit =
    Limit { max: 24, counts: "levels, those of fragments counted; one that contains itself has no end" };
const SELECTIONS: Limit = Limit { max: 1_000, counts: "fields, aliases and each use of a fragment counted" };
const READS: Limit =
    Limit { max: 20, counts: "fields that are read from a database, aliases counted; orders count for five" };
const COST: Limit =
    Limit { max: 20_000, counts: "fields of the answer; ask for smaller pages, or for less of each thing" };

/// Fields that are read from a database: once, for all that stands above them.
const READ: [&str; 9] = ["product", "products", "sku", "skus", "stock", "warehouses", "sale", "sales", "standing"];

/// The field that another service answers, from the databases of all shards.
const ORDERS: (&str, u64) = ("orders", 5);

/// The items of a page: as many as `first` of the page's field.
const ITEMS: &str = "items";

/// Lists without pages: how many things they have. The last two are of introspection, and about.
const LISTS: [(&str, u64); 3] = [("attributes", 50), ("types", 32), ("fields", 5)];

/// Refuses a query that asks for too much.
///
/// # Errors
/// `too_large`, with the limit.
pub(super) fn check(document: &ExecutableDocument, variables: &Variables) -> Result<(), ServerError> {
    let mut counted = Counted { document, variables, operation: None, selections: 0, reads: 0, cost: 0 };
    for (_, operation) in document.operations.iter() {
        counted.operation = Some(&operation.node);
        counted.set(&operation.node.selection_set, Place { depth: 1, times: 1, page: 1 })?;
    }
    Ok(())
}

/// Where a set of fields stands.
#[derive(Clone, Copy)]
struct Place {
    depth: u64,
    /// How often it is answered.
    times: u64,
    /// Items of the page around it.
    page: u64,
}

struct Counted<'a> {
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    operation: Option<&'a OperationDefinition>,
    selections: u64,
    reads: u64,
    cost: u64,
}

impl<'a> Counted<'a> {
    fn set(&mut self, set: &'a Positioned<SelectionSet>, at: Place) -> Result<(), ServerError> {
        let below = Place { depth: at.depth + 1, ..at };
        for selection in &set.node.items {
            DEPTH.allows(at.depth, selection)?;
            self.selections += 1;
            SELECTIONS.allows(self.selections, selection)?;
            match &selection.node {
                Selection::Field(field) => self.field(field, below)?,
                Selection::InlineFragment(fragment) => self.set(&fragment.node.selection_set, below)?,
                Selection::FragmentSpread(spread) => {
                    // One that is not there is refused by GraphQL's own rules.
                    if let Some(fragment) = self.fragment(&spread.node.fragment_name.node) {
                        self.set(&fragment.node.selection_set, below)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &'a Positioned<Field>, at: Place) -> Result<(), ServerError> {
        let name = field.node.name.node.as_str();
        self.cost = self.cost.saturating_add(at.times);
        COST.allows(self.cost, field)?;
        let reads = if name == ORDERS.0 { ORDERS.1 } else { READ.contains(&name).into() };
        self.reads += reads;
        READS.allows(self.reads, field)?;
        let list = LISTS.iter().find(|(list, _)| *list == name).map_or(1, |(_, things)| *things);
        let things = if name == ITEMS { at.page } else { list };
        let below = Place { times: at.times.saturating_mul(things), page: self.first(&field.node), ..at };
        self.set(&field.node.selection_set, below)
    }

    fn fragment(&self, name: &Name) -> Option<&'a Positioned<FragmentDefinition>> {
        self.document.fragments.get(name)
    }

    /// Items of the page that a field is asked for; the most of a page where nothing is known.
    fn first(&self, field: &Field) -> u64 {
        let Some(given) = field.get_argument("first") else { return PAGE_LIMIT_DEFAULT.into() };
        let known = given.node.clone().into_const_with(|name| self.variable(&name).ok_or(()));
        let first = match known {
            Ok(async_graphql::Value::Number(number)) => number.as_u64(),
            _ => None,
        };
        first.map_or(PAGE_LIMIT_MAX.into(), |first| first.clamp(1, PAGE_LIMIT_MAX.into()))
    }

    fn variable(&self, name: &Name) -> Option<async_graphql::Value> {
        let by_default = || {
            let defined =
                self.operation?.variable_definitions.iter().find(|defined| defined.node.name.node == *name)?;
            defined.node.default_value.as_ref().map(|value| value.node.clone())
        };
        self.variables.get(name).cloned().or_else(by_default)
    }
}

impl Limit {
    fn allows<T>(&self, counted: u64, at: &Positioned<T>) -> Result<(), ServerError> {
        if counted <= self.max {
            return Ok(());
        }
        let message = format!("a query has at most {} {}", self.max, self.counts);
        let mut error = ServerError::new(message, Some(at.pos));
        error.extensions.get_or_insert_default().set("code", Code::TooLarge.as_str());
        Err(error)
    }
}

#[cfg(test)]
mod tests;
