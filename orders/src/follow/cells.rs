use domain::order::{OrderRow, Reason};
use kit::{clock::rfc3339, csv::cell};

/// What the columns of the file are named.
pub(super) const COLUMNS: &str = "order_id,status,reason,buyer_id,sale_id,offer_id,sku_id,quantity,unit_price,total,\
                                  currency,reserved_at,pay_by,is_released,context\n";

/// Adds an order's line.
pub(super) fn line(row: &OrderRow, out: &mut String) {
    let ids = [row.buyer.get(), row.sale.get(), row.offer.get(), row.sku.get(), row.quantity.into()];
    let total = row.unit_price.times(row.quantity).map(|total| total.amount.to_string()).unwrap_or_default();
    let mut cells =
        vec![row.order.to_string(), row.status.as_str().into(), row.reason.map_or("", Reason::as_str).into()];
    cells.extend(ids.map(|id| id.to_string()));
    cells.extend([row.unit_price.amount.to_string(), total, row.unit_price.currency.as_str().into()]);
    cells.extend([rfc3339(row.reserved_at_ms), row.pay_by_ms.map(rfc3339).unwrap_or_default()]);
    cells.extend([row.released.is_some().to_string(), String::from_utf8_lossy(&row.context).into_owned()]);
    for (at, text) in cells.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        cell(text, out);
    }
    out.push('\n');
}
