//! The lines of a call: what is wrong with them, what they name, what they do.

use std::collections::BTreeSet;

use kit::problem::FieldError;
use store::sql::{SqlError, Tx};

use super::{LineKind, MovementLine};
use crate::stock::{
    book::{Book, Note},
    key::Key,
    level::{Act, Shortage, Spot},
    names,
};

/// A line whose codes are numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    key: Key,
    to: Key,
    act: Act,
    /// Of a transfer to another warehouse: what happens there.
    arrival: Option<Act>,
    note: Note,
}

impl Line {
    /// The levels that it changes.
    pub(super) fn keys(&self) -> [Key; 2] {
        [self.key, self.to]
    }

    /// Does it, or nothing of it.
    ///
    /// # Errors
    /// [`Shortage`]: what there is instead.
    pub(super) fn apply(&self, book: &mut Book) -> Result<(), Shortage> {
        match self.arrival {
            Some(arrival) => book.transfer((self.key, self.act), (self.to, arrival), &self.note),
            None => book.apply(self.key, self.act, &self.note).map(|_steps| ()),
        }
    }
}

fn flaw(index: usize, member: &str, message: &'static str) -> FieldError {
    FieldError { field: format!("lines[{index}].{member}").into(), message: message.into() }
}

/// A member, what is wrong with it, and when it is.
type Rule = (&'static str, &'static str, fn(&MovementLine) -> bool);

/// What lines say that does not go together.
pub(super) fn wrong(lines: &[MovementLine]) -> Vec<FieldError> {
    let rules: [Rule; 6] = [
        ("units", "must not be 0", |line| line.units == 0),
        ("units", "is above 0 but in an adjustment", |line| line.units < 0 && line.kind != LineKind::Adjust),
        ("reason", "an adjustment has one", |line| line.kind == LineKind::Adjust && line.reason.is_none()),
        ("to_warehouse", "only a transfer has one", |line| {
            line.kind != LineKind::Transfer && line.to_warehouse.is_some()
        }),
        ("to_bin", "only a transfer has one", |line| line.kind != LineKind::Transfer && line.to_bin.is_some()),
        ("to_warehouse", "say where to: another warehouse, or `to_bin`", |line| {
            let to = line.to_warehouse.as_ref().unwrap_or(&line.warehouse);
            line.kind == LineKind::Transfer && *to == line.warehouse && line.to_bin == line.bin
        }),
    ];
    let each = lines.iter().enumerate();
    each.flat_map(|(index, line)| {
        let broken = rules.iter().filter(move |(.., is_broken)| is_broken(line));
        broken.map(move |(member, message, _)| flaw(index, member, message))
    })
    .collect()
}

/// Finds what lines name. What is not found is told of all of them.
pub(super) async fn resolve<T: Tx>(
    tx: &mut T,
    tenant: u32,
    lines: &[MovementLine],
) -> Result<(Vec<Line>, Vec<FieldError>), SqlError> {
    let skus: BTreeSet<&str> = lines.iter().map(|line| line.sku.as_str()).collect();
    let warehouses = lines.iter().flat_map(|line| [Some(&line.warehouse), line.to_warehouse.as_ref()]);
    let warehouses: BTreeSet<&str> = warehouses.flatten().map(String::as_str).collect();
    let skus = names::skus(tx, tenant, &skus).await?;
    let warehouses = names::warehouses(tx, tenant, &warehouses).await?;
    let (mut found, mut flaws) = (Vec::with_capacity(lines.len()), Vec::new());
    for (index, line) in lines.iter().enumerate() {
        let to_code = line.to_warehouse.as_ref().unwrap_or(&line.warehouse);
        let sku = skus.get(&line.sku).copied();
        let (from, to) = (warehouses.get(&line.warehouse).copied(), warehouses.get(to_code).copied());
        let missing = [("sku", sku.is_none()), ("warehouse", from.is_none()), ("to_warehouse", to.is_none())];
        let named = |member: &str| member != "to_warehouse" || line.to_warehouse.is_some();
        let missing = missing.iter().filter(|(member, is_missing)| *is_missing && named(member));
        flaws.extend(missing.map(|(member, _)| flaw(index, member, "there is none with this code")));
        let (Some(sku), Some(from), Some(to)) = (sku, from, to) else { continue };
        let receives = matches!(line.kind, LineKind::Receive | LineKind::Return | LineKind::Transfer);
        if receives && !to.is_open {
            let member = if line.to_warehouse.is_some() { "to_warehouse" } else { "warehouse" };
            flaws.push(flaw(index, member, "the warehouse that would receive is closed; open it first"));
        }
        let (key, to) = (Key { warehouse: from.number, sku }, Key { warehouse: to.number, sku });
        match spots(tx, tenant, (key, to), line).await? {
            Ok(spots) => found.push(line_of(line, key, to, spots)),
            Err(members) => {
                flaws.extend(members.into_iter().map(|member| flaw(index, member, "there is none with this code")));
            }
        }
    }
    Ok((found, flaws))
}

/// Where units go from and to, and when their batch expires.
#[derive(Debug, Clone, Copy)]
struct Spots {
    from: Spot,
    to: Spot,
    expires_at: Option<i64>,
}

async fn spots<T: Tx>(
    tx: &mut T,
    tenant: u32,
    (key, to): (Key, Key),
    line: &MovementLine,
) -> Result<Result<Spots, Vec<&'static str>>, SqlError> {
    let mut missing = Vec::new();
    let (mut batch, mut expires_at) = (0, None);
    if let Some(code) = &line.batch {
        match names::batch(tx, tenant, key.sku, code).await? {
            Some(found) => (batch, expires_at) = found,
            None => missing.push("batch"),
        }
    }
    let mut bins = [0, 0];
    let named = [("bin", &line.bin, key.warehouse), ("to_bin", &line.to_bin, to.warehouse)];
    for (bin, (member, code, warehouse)) in bins.iter_mut().zip(named) {
        if let Some(code) = code {
            match names::bin(tx, tenant, warehouse, code).await? {
                Some(found) => *bin = found,
                None => missing.push(member),
            }
        }
    }
    let spots = Spots { from: Spot { bin: bins[0], batch }, to: Spot { bin: bins[1], batch }, expires_at };
    Ok(if missing.is_empty() { Ok(spots) } else { Err(missing) })
}

fn line_of(line: &MovementLine, key: Key, to: Key, Spots { from, to: to_spot, expires_at }: Spots) -> Line {
    let units = line.units;
    let arrives = Act::In { spot: to_spot, units, expires_at };
    let (act, arrival) = match line.kind {
        LineKind::Receive | LineKind::Return => (Act::In { spot: from, units, expires_at }, None),
        LineKind::Adjust if units > 0 => (Act::In { spot: from, units, expires_at }, None),
        LineKind::Adjust => (Act::Out { spot: from, units: -units }, None),
        LineKind::Transfer if key == to => (Act::Move { from, to: to_spot, units, expires_at }, None),
        LineKind::Transfer => (Act::Out { spot: from, units }, Some(arrives)),
        LineKind::Ship => (Act::Ship { spot: (from != Spot::NONE).then_some(from), units }, None),
    };
    let note = Note {
        kind: line.kind.as_str(),
        reference: line.reference.clone().unwrap_or_default(),
        reason: line.reason.clone().unwrap_or_default(),
    };
    Line { key, to, act, arrival, note }
}
