//! What an operator asks about parked records, of a running server by its second port or of a
//! folder at rest. The rules are the order-writer's.

use kit::clock::Clock;
use order_writer::parked::{PAGE_MAX, ParkedCommand, ParkedError, Stores};

use crate::deployment::Deployment;

/// The first part of these pages.
pub const PAGE: &str = "parked";

/// As a page of the second port.
pub fn path(command: &ParkedCommand) -> String {
    match command {
        ParkedCommand::List { from, limit, json } => {
            format!("/{PAGE}/from/{from}/{limit}/{}", if *json { "json" } else { "text" })
        }
        ParkedCommand::Skip { partition, offset, .. } => format!("/{PAGE}/skip/{partition}/{offset}"),
        ParkedCommand::Replay { number, .. } => format!("/{PAGE}/replay/{number}"),
    }
}

/// From the parts of such a page.
pub fn of(parts: &[&str]) -> Option<ParkedCommand> {
    match *parts {
        [PAGE, "from", from, limit, shape @ ("json" | "text")] => {
            let limit = limit.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit))?;
            Some(ParkedCommand::List { from: from.parse().ok()?, limit, json: shape == "json" })
        }
        [PAGE, "skip", partition, offset] => {
            let partition = domain::id::PartitionId(partition.parse().ok()?);
            Some(ParkedCommand::Skip { partition, offset: offset.parse().ok()?, json: false })
        }
        [PAGE, "replay", number] => Some(ParkedCommand::Replay { number: number.parse().ok()?, json: false }),
        _ => None,
    }
}

/// Does it; returns what is told.
///
/// # Errors
/// [`ParkedError`]; asking again is harmless.
pub async fn carry_out<C: Clock>(deployment: &Deployment<C>, command: ParkedCommand) -> Result<String, ParkedError> {
    let stores = Stores {
        ledger: &deployment.databases.ledger,
        dead: &deployment.log,
        source: &deployment.source,
        log: &deployment.log,
        stock: &deployment.keeping,
        partitions: deployment.partitions,
    };
    stores.carry_out(command).await
}

#[cfg(test)]
mod tests {
    use domain::id::PartitionId;

    use super::*;

    #[test]
    fn a_command_finds_its_page() {
        for command in [
            ParkedCommand::List { from: 7, limit: 50, json: true },
            ParkedCommand::List { from: 0, limit: PAGE_MAX, json: false },
            ParkedCommand::Skip { partition: PartitionId(3), offset: 12, json: false },
            ParkedCommand::Replay { number: 9, json: false },
        ] {
            let path = path(&command);
            let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
            assert_eq!(of(&parts), Some(command));
        }
        for other in [&["parked"][..], &["parked", "skip", "x", "1"], &["parked", "from", "0", "0", "text"]] {
            assert_eq!(of(other), None);
        }
    }
}
