//! The scenarios, as data: what differs between them stands in one table, and no other file asks
//! which one runs. A scenario is a list of parts, played one after the other on one sale; what was
//! answered in any of them is audited, and only some are measured.

#[cfg(test)]
mod tests;

use clap::builder::PossibleValue;
use domain::sale::ALLOTMENT_MAX;

use crate::life::Fate;

/// Buyers over all parts, at most: they are numbered by 32 bits, and each must fit into memory.
pub const BUYERS_MAX: u64 = 100_000_000;

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
    /// All units are sold before those who are measured come.
    Gone {
        /// Units when the command line names none.
        units: u64,
    },
    /// Fewer units than buyers, and nobody is refused: some buy what others let go.
    Returning {
        /// Units for each hundred buyers.
        percent: u8,
    },
}

/// Who buys in a part. Each part has buyers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// As many as are asked for, else as the scenario says. With a pace of its own a part takes no
    /// more of them than its time needs.
    Asked,
    /// As many first buyers as are asked for, else so many.
    First(u32),
    /// One for each unit, and one more for each lane, to whom the lane says that it is sold out.
    UntilSoldOut,
    /// So many of each hundred that are asked for.
    Share(u8),
}

/// How fast the buyers of a part come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At the rate asked for, else as fast as answers come.
    Asked,
    /// As fast as answers come.
    Closed,
    /// At the rate asked for, else at so many percent of the rate that the closed part before
    /// sustained.
    Share(u8),
    /// At so many percent of the rate asked for, else of the rate that the closed part before
    /// sustained.
    Step(u8),
}

impl Pace {
    /// Requests a second, each with its intended time; `None`: as fast as answers come, or nothing
    /// is known to take a share of.
    pub fn rate(self, asked: Option<f64>, sustained: Option<f64>) -> Option<f64> {
        let percent = |percent: u8, whole: Option<f64>| whole.map(|whole| whole * f64::from(percent) / 100.0);
        match self {
            Self::Asked => asked,
            Self::Closed => None,
            Self::Share(share) => asked.or(percent(share, sustained)),
            Self::Step(share) => percent(share, asked.or(sustained)),
        }
    }

    /// The rate is given, and the time: there is no use for more buyers than come in it.
    fn takes_what_its_time_needs(self) -> bool {
        matches!(self, Self::Share(_) | Self::Step(_))
    }
}

/// One part of a scenario.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// As displays and reports call it.
    pub title: &'static str,
    /// Its figures count. The last measured part makes the headline.
    pub measured: bool,
    /// Who buys.
    pub who: Who,
    /// How fast they come.
    pub pace: Pace,
    /// How often each buyer sends the same purchase, with the same key.
    pub sends_per_buyer: u8,
    /// In how many of a hundred sends the client goes away without reading the answer.
    pub aborted_percent: u8,
    /// Sends come in seeded random order; otherwise buyer after buyer.
    pub shuffled: bool,
    /// Nobody buys: the page of the sale is read, in one of these content codings.
    pub reads: Option<&'static str>,
    /// What its buyers do once they have bought, and how many of them. Empty: nothing more.
    pub fates: &'static [(Fate, u32)],
}

impl Part {
    /// Measured, as asked, one purchase a buyer.
    const LOAD: Self = Self {
        title: "load",
        measured: true,
        who: Who::Asked,
        pace: Pace::Asked,
        sends_per_buyer: 1,
        aborted_percent: 0,
        shuffled: false,
        reads: None,
        fates: &[],
    };
    /// Not measured, as fast as answers come: orders that are only to be there.
    pub(crate) const FILLING: Self =
        Self { title: "filling", measured: false, who: Who::First(1_000_000), pace: Pace::Closed, ..Self::LOAD };
    /// Finds the rate of which others take a share. The first second of a load is slower: a shorter
    /// part would find too little.
    const CALIBRATION: Self =
        Self { title: "calibration", measured: false, who: Who::First(200_000), pace: Pace::Closed, ..Self::LOAD };

    const fn step(title: &'static str, percent: u8) -> Self {
        Self { title, pace: Pace::Step(percent), ..Self::LOAD }
    }

    /// How many buyers it has at this rate and within this time.
    pub fn buyers(&self, size: Size, lanes: u32, rate: Option<f64>, seconds: u32) -> u32 {
        let most = u32::try_from(self.buyers_max(size, lanes)).unwrap_or(u32::MAX);
        match rate.filter(|_| self.pace.takes_what_its_time_needs()) {
            // A float that is too large becomes the largest number.
            Some(rate) => most.min((rate * f64::from(seconds)).ceil() as u32).max(1),
            None => most,
        }
    }

    fn buyers_max(&self, size: Size, lanes: u32) -> u64 {
        match self.who {
            Who::Asked => size.buyers.into(),
            Who::First(_) => size.first_buyers.into(),
            Who::UntilSoldOut => size.units + u64::from(lanes),
            Who::Share(percent) => u64::from(size.buyers) * u64::from(percent) / 100,
        }
    }
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
    /// Buyers of a measured part when the command line names no number.
    pub buyers: u32,
    /// Sending of a measured part ends after so many seconds when the command line names no time.
    pub seconds: u32,
    /// What happens, in this order; the unmeasured ones first.
    pub parts: &'static [Part],
}

/// More buyers than units: the sale that the engine is for.
pub static SELLOUT: Scenario = Scenario {
    name: "sellout",
    about: "more buyers than units: exactly the units are sold, everybody else is refused",
    stock: Stock::Scarce { units: 100_000 },
    buyers: 300_000,
    seconds: 120,
    parts: &[Part::LOAD],
};

/// More units than buyers: how many orders become rows in a second.
pub static ORDERS: Scenario = Scenario {
    name: "orders",
    about: "more units than buyers: durable orders a second, the figure that counts",
    stock: Stock::Ample { units_per_buyer: 2 },
    buyers: 400_000,
    seconds: 120,
    parts: &[Part::LOAD],
};

/// Everybody comes too late. Who has bought nothing can be refused by the lane alone (R13): this is
/// what a refusal costs there.
pub static SOLDOUT: Scenario = Scenario {
    name: "soldout",
    about: "all units are sold before, then every buyer is refused: refusals a second",
    stock: Stock::Gone { units: 1_000 },
    buyers: 400_000,
    seconds: 120,
    parts: &[
        Part { title: "selling out", measured: false, who: Who::UntilSoldOut, pace: Pace::Closed, ..Part::LOAD },
        Part::LOAD,
    ],
};

/// What buyers see on a day without trouble.
pub static STEADY: Scenario = Scenario {
    name: "steady",
    about: "70 % of the rate that this machine sustains (found first), or --rate: latency from the intended send time",
    stock: Stock::Ample { units_per_buyer: 1 },
    buyers: 4_000_000,
    seconds: 10,
    parts: &[Part::CALIBRATION, Part { title: "70 % of the sustained rate", pace: Pace::Share(70), ..Part::LOAD }],
};

/// What an order costs when many are stored.
pub static WARMED: Scenario = Scenario {
    name: "warmed",
    about: "`orders` on a sale that has a million orders (--first-buyers) in the same lanes and tables",
    stock: Stock::Ample { units_per_buyer: 2 },
    buyers: 400_000,
    seconds: 120,
    parts: &[Part::FILLING, Part::LOAD],
};

/// How latency grows with the rate.
pub static CURVE: Scenario = Scenario {
    name: "curve",
    about: "20 to 100 % of the rate that this machine sustains (found first), or of --rate: the latency at each step",
    stock: Stock::Ample { units_per_buyer: 1 },
    buyers: 2_000_000,
    seconds: 5,
    parts: &[
        Part::CALIBRATION,
        Part::step("20 %", 20),
        Part::step("40 %", 40),
        Part::step("60 %", 60),
        Part::step("70 %", 70),
        Part::step("80 %", 80),
        Part::step("90 %", 90),
        Part::step("100 %", 100),
    ],
};

/// One sale after the other: what stays of those that are over.
pub static SALES: Scenario = Scenario {
    name: "sales",
    about: "--count sales one after the other, the last one measured: what Redis and the services hold after each",
    stock: Stock::Ample { units_per_buyer: 1 },
    buyers: 200_000,
    seconds: 600,
    parts: &[Part::LOAD],
};

/// Impatient buyers on bad networks.
pub static RETRY_STORM: Scenario = Scenario {
    name: "retry-storm",
    about: "every buyer sends the same purchase three times; half of the sends abort their connection",
    stock: Stock::Scarce { units: 50_000 },
    buyers: 100_000,
    seconds: 120,
    parts: &[Part { sends_per_buyer: 3, aborted_percent: 50, shuffled: true, ..Part::LOAD }],
};

/// The crowd before the opening, which looks and does not buy.
pub static PAGES: Scenario = Scenario {
    name: "pages",
    about: "nobody buys, everybody reads the page of the sale, plain and then packed: pages a second, at `refused`",
    stock: Stock::Ample { units_per_buyer: 1 },
    buyers: 2_000_000,
    seconds: 15,
    parts: &[
        Part { title: "plain", reads: Some("identity"), ..Part::LOAD },
        Part { title: "gzip or br", reads: Some("gzip, deflate, br"), ..Part::LOAD },
    ],
};

/// Orders that become money or give their units back. Of 100 buyers 70 find a unit and 40 of them
/// pay; 20 let their time pass, of whom 5 only hoard and 1 pays when it is over; 10 cancel. What
/// comes back is bought by the other 30, who pay.
pub static LIFE: Scenario = Scenario {
    name: "life",
    about: "70 % of the orders are paid, 20 % expire, 10 % are cancelled; what comes back is sold again: every cent is \
            accounted for",
    stock: Stock::Returning { percent: 70 },
    buyers: 200_000,
    seconds: 1_800,
    parts: &[
        Part {
            title: "first buyers",
            who: Who::Share(70),
            pace: Pace::Closed,
            fates: &[
                (Fate::Pays, 40),
                (Fate::Hoards, 5),
                (Fate::PaysLate, 1),
                (Fate::Lapses, 7),
                (Fate::LapsesOpen, 7),
                (Fate::Cancels, 5),
                (Fate::CancelsOpen, 5),
            ],
            ..Part::LOAD
        },
        Part {
            title: "who buys what came back",
            who: Who::Share(30),
            pace: Pace::Closed,
            fates: &[(Fate::Pays, 1)],
            ..Part::LOAD
        },
    ],
};

/// Every scenario, in the order of the help.
pub static ALL: [&Scenario; 10] =
    [&SELLOUT, &ORDERS, &SOLDOUT, &STEADY, &WARMED, &CURVE, &SALES, &RETRY_STORM, &PAGES, &LIFE];

/// How large a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Units over all lanes.
    pub units: u64,
    /// Buyers of a measured part, at most.
    pub buyers: u32,
    /// Buyers of the first part where a scenario has first buyers, else 0.
    pub first_buyers: u32,
}

/// What the command line says of the size.
#[derive(Debug, Clone, Copy, Default)]
pub struct SizeOptions {
    /// Units over all lanes.
    pub units: Option<u64>,
    /// Buyers of a measured part.
    pub buyers: Option<u32>,
    /// Buyers of the first part.
    pub first_buyers: Option<u32>,
    /// Lanes.
    pub lanes: u32,
}

/// A size that does not make the scenario asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` needs {relation}; these are {units} units and {buyers} buyers over all parts")]
pub struct WrongSize {
    name: &'static str,
    relation: &'static str,
    units: u64,
    buyers: u64,
}

impl Scenario {
    /// The scenario of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|scenario| scenario.name == name)
    }

    /// How large the run is: as wished, else as the scenario says.
    ///
    /// # Errors
    /// [`WrongSize`] when it would show something else than the scenario's name says.
    pub fn size(&self, options: SizeOptions) -> Result<Size, WrongSize> {
        let buyers = options.buyers.unwrap_or(self.buyers);
        let first = self.parts.iter().find_map(|part| match part.who {
            Who::First(buyers) => Some(buyers),
            Who::Asked | Who::UntilSoldOut | Who::Share(_) => None,
        });
        let first_buyers = first.map_or(0, |default| options.first_buyers.unwrap_or(default));
        let mut size = Size { units: 0, buyers, first_buyers };
        if let Stock::Scarce { units } | Stock::Gone { units } = self.stock {
            size.units = options.units.unwrap_or(units);
        }
        let total: u64 = self.parts.iter().map(|part| part.buyers_max(size, options.lanes)).sum();
        if let Stock::Ample { units_per_buyer } = self.stock {
            size.units = options.units.unwrap_or((units_per_buyer * total).min(ALLOTMENT_MAX));
        }
        if let Stock::Returning { percent } = self.stock {
            size.units = options.units.unwrap_or(total * u64::from(percent) / 100);
        }
        let wrong = |relation| Err(WrongSize { name: self.name, relation, units: size.units, buyers: total });
        match self.stock {
            _ if total > BUYERS_MAX => wrong("no more than 100,000,000 buyers"),
            _ if first.is_none() && options.first_buyers.is_some() => {
                wrong("no first buyers: leave --first-buyers out")
            }
            Stock::Scarce { .. } if size.units >= total => wrong("fewer units than buyers"),
            Stock::Returning { .. } if !buyers.is_multiple_of(100) || options.lanes != 1 => {
                wrong("buyers by the hundred, and one lane")
            }
            Stock::Returning { percent } if size.units * 100 != total * u64::from(percent) => {
                wrong("its own share of units: leave --units out")
            }
            Stock::Ample { .. } if size.units < total => wrong("at least as many units as buyers"),
            _ => Ok(size),
        }
    }

    /// Its orders are paid, and so it has an order service and a bank.
    pub fn is_paid(&self) -> bool {
        self.parts.iter().any(|part| !part.fates.is_empty())
    }

    /// Fewer units than buyers.
    pub const fn is_scarce(&self) -> bool {
        matches!(self.stock, Stock::Scarce { .. })
    }

    /// Its last part comes as fast as is asked for, and no rate is found before.
    pub fn comes_as_asked(&self) -> bool {
        self.parts.last().is_some_and(|part| part.pace == Pace::Asked)
    }

    /// Index of the first part that is measured.
    pub fn first_measured(&self) -> usize {
        self.parts.iter().position(|part| part.measured).unwrap_or(0)
    }
}

/// The names, for the command line.
pub fn possible_values() -> impl Iterator<Item = PossibleValue> {
    ALL.into_iter().map(|scenario| PossibleValue::new(scenario.name).help(scenario.about))
}
