//! A line of a file of products: a SKU with its product, or a product alone. CSV cells become the
//! members that a line of JSON has, and one schema checks both. What a line leaves out stays as it
//! is.

use std::borrow::Cow;

use kit::schema::{self, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use super::{
    ProductState, SkuState,
    product::ProductChange,
    rules::Flaws,
    sku::SkuChange,
    texts::{Attribute, Barcode, Code, CurrencyCode, Description, ImageReference, Price, Title},
};
use crate::jobs::{Flaw, Format};

/// How the text of a cell becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// As it is, empty or not.
    Text,
    /// As it is; an empty one says nothing.
    TextUnlessEmpty,
    /// A whole number; an empty one says nothing.
    Number,
    /// JSON; an empty one says nothing.
    Json,
}

/// The columns that a CSV file may have, and how each is read. An export has them in this order.
const COLUMNS: [(&str, Cell); 15] = [
    ("product", Cell::Text),
    ("title", Cell::TextUnlessEmpty),
    ("description", Cell::Text),
    ("state", Cell::TextUnlessEmpty),
    ("attributes", Cell::Json),
    ("images", Cell::Json),
    ("fields", Cell::Json),
    ("sku", Cell::TextUnlessEmpty),
    ("price", Cell::Number),
    ("currency", Cell::TextUnlessEmpty),
    ("barcode", Cell::Text),
    ("weight_g", Cell::Number),
    ("sku_state", Cell::TextUnlessEmpty),
    ("sku_attributes", Cell::Json),
    ("sku_images", Cell::Json),
];

/// A line.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProductLine)]
pub(super) struct Line {
    /// The product's code.
    pub(super) product: Code,
    #[schema(nullable = false)]
    title: Option<Title>,
    #[schema(nullable = false)]
    description: Option<Description>,
    #[schema(nullable = false)]
    state: Option<ProductState>,
    #[schema(nullable = false, max_items = 50)]
    attributes: Option<Vec<Attribute>>,
    #[schema(nullable = false, max_items = 20)]
    images: Option<Vec<ImageReference>>,
    #[schema(value_type = Option<Object>, nullable = false)]
    fields: Option<Map<String, Json>>,
    /// The SKU's code; without it the line is about the product alone.
    #[schema(nullable = false)]
    pub(super) sku: Option<Code>,
    /// In minor units.
    #[schema(nullable = false, minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    price: Option<i64>,
    #[schema(nullable = false)]
    currency: Option<CurrencyCode>,
    #[schema(nullable = false)]
    barcode: Option<Barcode>,
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000_000)]
    weight_g: Option<i64>,
    #[schema(nullable = false)]
    sku_state: Option<SkuState>,
    #[schema(nullable = false, max_items = 50)]
    sku_attributes: Option<Vec<Attribute>>,
    #[schema(nullable = false, max_items = 20)]
    sku_images: Option<Vec<ImageReference>>,
}

/// What a line says of a SKU: of its price each part may be left out.
#[derive(Debug)]
pub(super) struct SkuLine {
    pub(super) code: Code,
    pub(super) amount: Option<i64>,
    pub(super) currency: Option<CurrencyCode>,
    pub(super) change: SkuChange,
}

impl SkuLine {
    /// The price, where what the line leaves out is that of before.
    pub(super) fn price(&self, before: Option<&Price>) -> Option<Price> {
        let amount = self.amount.or_else(|| before.map(|price| price.amount))?;
        let currency = self.currency.clone().or_else(|| before.map(|price| price.currency.clone()))?;
        Some(Price { amount, currency })
    }
}

impl Line {
    /// All images that it names.
    pub(super) fn images(&self) -> impl Iterator<Item = &ImageReference> {
        self.images.iter().flatten().chain(self.sku_images.iter().flatten())
    }

    /// What it says of the product, and of the SKU.
    pub(super) fn into_parts(self) -> (Code, ProductChange, Option<SkuLine>) {
        let product = ProductChange {
            title: self.title,
            description: self.description,
            state: self.state,
            attributes: self.attributes,
            images: self.images,
            fields: self.fields,
        };
        let change = SkuChange {
            price: None,
            barcode: self.barcode,
            weight_g: self.weight_g,
            state: self.sku_state,
            attributes: self.sku_attributes,
            images: self.sku_images,
        };
        let sku = self.sku.map(|code| SkuLine { code, amount: self.price, currency: self.currency, change });
        (self.product, product, sku)
    }

    /// What its schema does not say.
    fn flaws(&self, flaws: &mut Flaws) {
        flaws.of_attributes("attributes", self.attributes.as_deref().unwrap_or_default());
        flaws.of_attributes("sku_attributes", self.sku_attributes.as_deref().unwrap_or_default());
        if let Some(currency) = &self.currency {
            flaws.of_currency("currency", currency);
        }
        let of_sku = [
            ("price", self.price.is_some()),
            ("currency", self.currency.is_some()),
            ("barcode", self.barcode.is_some()),
            ("weight_g", self.weight_g.is_some()),
            ("sku_state", self.sku_state.is_some()),
            ("sku_attributes", self.sku_attributes.is_some()),
            ("sku_images", self.sku_images.is_some()),
        ];
        for (field, _) in of_sku.into_iter().filter(|(_, given)| *given && self.sku.is_none()) {
            flaws.add(field, "is of a SKU, and this line names none: give `sku` too");
        }
    }
}

/// How a file is read, found when it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    pub(super) format: Format,
    /// Of CSV: its columns.
    columns: Vec<String>,
    /// Where the first line of data begins.
    begin: At,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct At {
    pub(super) byte: u64,
    /// From 1.
    pub(super) line: u64,
}

impl At {
    /// As a job's position.
    pub(super) fn to_position(self) -> String {
        format!("{}:{}", self.byte, self.line)
    }
}

/// Lines of a file.
#[derive(Debug)]
pub(super) struct Cut {
    /// Those that can be read, each with its number.
    pub(super) lines: Vec<(u64, Line)>,
    /// What is wrong in the others.
    pub(super) flaws: Vec<Flaw>,
    pub(super) failed: u64,
    /// Where to go on.
    pub(super) next: At,
    /// The record that begins there is larger than may be.
    pub(super) is_stuck: bool,
}

/// Largest header of a CSV file.
const HEADER_BYTES_MAX: usize = 64 * 1024;

impl Layout {
    /// Looks at the beginning of a file in UTF-8.
    ///
    /// # Errors
    /// What is wrong with it: then it is no such file.
    pub(super) fn of(format: Format, text: &str) -> Result<Self, Flaws> {
        match format {
            Format::Csv => Self::of_csv(text),
            Format::Jsonl => Self::of_jsonl(text),
        }
    }

    fn of_csv(text: &str) -> Result<Self, Flaws> {
        let mut flaws = Flaws::default();
        let head = &text.as_bytes()[..text.len().min(HEADER_BYTES_MAX)];
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(head);
        let mut record = csv::StringRecord::new();
        let is_there = reader.read_record(&mut record).unwrap_or(false);
        let end = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
        if !is_there || (end >= HEADER_BYTES_MAX && text.len() > HEADER_BYTES_MAX) {
            flaws.add("body", "is no CSV file: its first line must name the columns");
            return Err(flaws);
        }
        let columns: Vec<String> = record.iter().map(str::to_owned).collect();
        for (place, column) in columns.iter().enumerate() {
            if !COLUMNS.iter().any(|(name, _)| name == column) {
                let name: String = column.chars().take(64).collect();
                flaws.add(name, "there is no such column; the export shows those that there are");
            } else if columns[..place].contains(column) {
                flaws.add(column, "this column came before: give it once");
            }
        }
        if !columns.iter().any(|column| column == "product") {
            flaws.add("product", "this column is missing: it holds the codes of products");
        }
        let begin = At { byte: u64::try_from(end).unwrap_or(u64::MAX), line: 1 + breaks(&head[..end.min(head.len())]) };
        if flaws.0.is_empty() { Ok(Self { format: Format::Csv, columns, begin }) } else { Err(flaws) }
    }

    fn of_jsonl(text: &str) -> Result<Self, Flaws> {
        let first = text.lines().find(|line| !line.trim().is_empty());
        let object = first.and_then(|line| serde_json::from_str::<Map<String, Json>>(line).ok());
        if object.is_none() {
            let mut flaws = Flaws::default();
            flaws.add("body", "is no file of JSON lines: its first line must be a JSON object");
            return Err(flaws);
        }
        Ok(Self { format: Format::Jsonl, columns: Vec::new(), begin: At { byte: 0, line: 1 } })
    }

    /// Where a job goes on.
    pub(super) fn at(&self, position: &str) -> Option<At> {
        if position.is_empty() {
            return Some(self.begin);
        }
        let (byte, line) = position.split_once(':')?;
        Some(At { byte: byte.parse().ok()?, line: line.parse().ok()? })
    }

    /// Reads lines out of a window of the file: `window` begins with a line break that the file has
    /// not. Without `is_last` the file goes on behind it, so that its last record may be cut off.
    pub(super) fn cut(&self, window: &[u8], from: At, is_last: bool, lines_max: usize, fields: &Schema) -> Cut {
        let mut cut = Cut { lines: Vec::new(), flaws: Vec::new(), failed: 0, next: from, is_stuck: false };
        let Records { found, end } = match self.format {
            Format::Csv => self.csv(window, is_last, lines_max),
            Format::Jsonl => jsonl(window, is_last, lines_max),
        };
        // The break before the window is no line of the file.
        let (mut seen, mut line) = (1, from.line);
        for record in found {
            line += breaks(&window[seen..record.begin]);
            seen = record.begin;
            match record.value.and_then(|members| read(members, fields)) {
                Ok(read) => cut.lines.push((line, read)),
                Err(flaws) => {
                    cut.failed += 1;
                    cut.flaws.extend(flaws.into_iter().map(|(field, message)| Flaw { line, field, message }));
                }
            }
        }
        line += breaks(&window[seen..end]);
        cut.next = At { byte: from.byte + u64::try_from(end - 1).unwrap_or(u64::MAX), line };
        cut.is_stuck = end == 1 && window.len() > 1 && !is_last;
        cut
    }

    fn csv(&self, window: &[u8], is_last: bool, lines_max: usize) -> Records {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(window);
        let mut records = Records { found: Vec::new(), end: 1 };
        let mut record = csv::ByteRecord::new();
        while records.found.len() < lines_max {
            // Line breaks before a record are none of it.
            let begin = records.end + window[records.end..].iter().take_while(|byte| is_break(**byte)).count();
            // What is read comes from memory, and any bytes are CSV.
            if !reader.read_byte_record(&mut record).unwrap_or(false) {
                records.end = if is_last { window.len() } else { begin };
                break;
            }
            let end = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX).min(window.len());
            if end == window.len() && !is_last {
                break;
            }
            records.found.push(Record { begin, value: self.members(&record) });
            records.end = end;
        }
        records
    }

    /// The members that the cells of a record stand for.
    fn members(&self, record: &csv::ByteRecord) -> Result<Map<String, Json>, Flawed> {
        if record.len() != self.columns.len() {
            let message = format!("has {} cells, the first line names {} columns", record.len(), self.columns.len());
            return Err(vec![("line".to_owned(), message)]);
        }
        let (mut members, mut flaws) = (Map::new(), Vec::new());
        for (column, cell) in self.columns.iter().zip(record) {
            let kind = COLUMNS.iter().find(|(name, _)| name == column).map_or(Cell::Text, |(_, kind)| *kind);
            // The whole file is UTF-8, and cells end at ASCII.
            let text = String::from_utf8_lossy(cell);
            match value_of(kind, text) {
                Ok(Some(value)) => drop(members.insert(column.clone(), value)),
                Ok(None) => {}
                Err(message) => flaws.push((column.clone(), message)),
            }
        }
        // An empty cell of it empties it, and here is no SKU of which.
        if !members.contains_key("sku") && members.get("barcode").is_some_and(|code| code == "") {
            members.remove("barcode");
        }
        if flaws.is_empty() { Ok(members) } else { Err(flaws) }
    }
}

/// Fields, and what is wrong with them.
type Flawed = Vec<(String, String)>;

/// Records of a window.
struct Records {
    found: Vec<Record>,
    /// Where the last one ends.
    end: usize,
}

struct Record {
    begin: usize,
    value: Result<Map<String, Json>, Flawed>,
}

fn jsonl(window: &[u8], is_last: bool, lines_max: usize) -> Records {
    let mut records = Records { found: Vec::new(), end: 1 };
    while records.found.len() < lines_max && records.end < window.len() {
        let rest = &window[records.end..];
        let (line, end) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(length) => (&rest[..length], records.end + length + 1),
            None if is_last => (rest, window.len()),
            None => break,
        };
        if !line.trim_ascii().is_empty() {
            let value = serde_json::from_slice(line);
            let value = value.map_err(|error| vec![("line".to_owned(), format!("is no JSON object: {error}"))]);
            records.found.push(Record { begin: records.end, value });
        }
        records.end = end;
    }
    records
}

fn value_of(kind: Cell, text: Cow<'_, str>) -> Result<Option<Json>, String> {
    if text.is_empty() && kind != Cell::Text {
        return Ok(None);
    }
    match kind {
        Cell::Text | Cell::TextUnlessEmpty => Ok(Some(Json::String(text.into_owned()))),
        Cell::Number => match text.parse::<i64>() {
            Ok(number) => Ok(Some(number.into())),
            Err(_) => Err("must be a whole number: of money in minor units, of weight in grams".to_owned()),
        },
        Cell::Json => match serde_json::from_str(&text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(format!("must be JSON: {error}")),
        },
    }
}

/// A line out of its members.
fn read(members: Map<String, Json>, fields: &Schema) -> Result<Line, Flawed> {
    let mut flaws = Flaws::default();
    if let Some(given) = members.get("fields") {
        flaws.of_fields("fields", fields, given);
    }
    match schema::read_value::<Line>(Json::Object(members)) {
        Ok(line) => {
            line.flaws(&mut flaws);
            if flaws.0.is_empty() {
                return Ok(line);
            }
        }
        Err(problem) if problem.field_errors.is_empty() => flaws.add("line", problem.detail.into_owned()),
        Err(problem) => flaws.0.extend(problem.field_errors),
    }
    Err(flaws.0.into_iter().map(|flaw| (flaw.field.into_owned(), flaw.message.into_owned())).collect())
}

fn is_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn breaks(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// The names of the columns, in the order of an export.
pub(super) fn columns() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().map(|(name, _)| *name)
}
