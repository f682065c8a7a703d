//! The scenarios, as data: what differs between them stands in one table, and no other file asks which one runs.

use clap::builder::PossibleValue;

/// How the units of a scenario compare with its buyers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stock {
    /// Fewer units than buyers: some are refused.
    Scarce {
        /// Units when the command line names none.
        units: u64,
    },
    /// A unit for everybody: nobody is refused.
    Ample {
        /// Units for each buyer when the command line names none.
        units_per_buyer: u64,
    },
}

/// One kind of load.
#[derive(Debug, PartialEq, Eq)]
pub struct Scenario {
    /// As the command line and the report name it.
    pub name: &'static str,
    /// One line for the help.
    pub about: &'static str,
    /// Units against buyers.
    pub stock: Stock,
    /// Buyers when the command line names no number.
    pub buyers: u32,
    /// How often each buyer sends the same purchase, with the same key.
    pub sends_per_buyer: u8,
    /// In how many of a hundred sends the client goes away without reading the answer.
    pub aborted_percent: u8,
    /// Sends come in seeded random order; otherwise buyer after buyer.
    pub shuffled: bool,
}

/// More buyers than units: the sale that the engine is for.
pub static SELLOUT: Scenario = Scenario {
    name: "sellout",
    about: "more buyers than units: exactly the units are sold, everybody else is refused",
    stock: Stock::Scarce { units: 100_000 },
    buyers: 300_000,
    sends_per_buyer: 1,
    aborted_percent: 0,
    shuffled: false,
};

/// More units than buyers: how many orders become rows in a second.
pub static ORDERS: Scenario = Scenario {
    name: "orders",
    about: "more units than buyers: durable orders a second, the figure that counts",
    stock: Stock::Ample { units_per_buyer: 2 },
    buyers: 400_000,
    sends_per_buyer: 1,
    aborted_percent: 0,
    shuffled: false,
};

/// Impatient buyers on bad networks.
pub static RETRY_STORM: Scenario = Scenario {
    name: "retry-storm",
    about: "every buyer sends the same purchase three times; half of the sends abort their connection",
    stock: Stock::Scarce { units: 50_000 },
    buyers: 100_000,
    sends_per_buyer: 3,
    aborted_percent: 50,
    shuffled: true,
};

/// Every scenario, in the order of the help.
pub static ALL: [&Scenario; 3] = [&SELLOUT, &ORDERS, &RETRY_STORM];

/// Units and buyers that do not make the scenario asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` needs {relation}; these are {units} units and {buyers} buyers")]
pub struct WrongSize {
    name: &'static str,
    relation: &'static str,
    units: u64,
    buyers: u32,
}

impl Scenario {
    /// The scenario of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|scenario| scenario.name == name)
    }

    /// Units and buyers: those asked for, else the scenario's own.
    ///
    /// # Errors
    /// [`WrongSize`] when they would show something else than the scenario's name says.
    pub fn size(&self, units: Option<u64>, buyers: Option<u32>) -> Result<(u64, u32), WrongSize> {
        let buyers = buyers.unwrap_or(self.buyers);
        let (units, holds, relation) = match self.stock {
            Stock::Scarce { units: default } => {
                let units = units.unwrap_or(default);
                (units, units < u64::from(buyers), "fewer units than buyers")
            }
            Stock::Ample { units_per_buyer } => {
                let units = units.unwrap_or(units_per_buyer * u64::from(buyers));
                (units, units >= u64::from(buyers), "at least as many units as buyers")
            }
        };
        if holds { Ok((units, buyers)) } else { Err(WrongSize { name: self.name, relation, units, buyers }) }
    }
}

/// The names, for the command line.
pub fn possible_values() -> impl Iterator<Item = PossibleValue> {
    ALL.into_iter().map(|scenario| PossibleValue::new(scenario.name).help(scenario.about))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_the_readme_promises() {
        assert_eq!(SELLOUT.size(None, None), Ok((100_000, 300_000)));
        assert_eq!(ORDERS.size(None, None), Ok((800_000, 400_000)));
        assert_eq!(RETRY_STORM.size(None, None), Ok((50_000, 100_000)));
    }

    #[test]
    fn a_size_that_belies_the_name_is_refused() {
        assert!(SELLOUT.size(Some(300_000), None).is_err());
        assert!(ORDERS.size(Some(399_999), None).is_err());
        let message = ORDERS.size(Some(10), Some(11)).unwrap_err().to_string();
        assert!(message.contains("orders") && message.contains("at least as many"), "{message}");
    }

    #[test]
    fn names_are_found_and_distinct() {
        for scenario in ALL {
            assert_eq!(Scenario::named(scenario.name), Some(scenario));
        }
        assert_eq!(Scenario::named("steady"), None);
    }
}
