// Money for people: minor units by ISO 4217 into text, exact, without floating point.

import type { Price } from './client'

/** `9900 CNY` as `¥99.00`, in the form of a language. */
export function money({ amount, currency }: Price, language: string): string {
  const format = new Intl.NumberFormat(language, { style: 'currency', currency, currencyDisplay: 'narrowSymbol' })
  const digits = format.resolvedOptions().maximumFractionDigits ?? 2
  const units = String(Math.abs(amount)).padStart(digits + 1, '0')
  const [whole, rest] = [units.slice(0, units.length - digits), units.slice(units.length - digits)]
  // The integer part is grouped by the format, the fraction put in by hand.
  const parts = format.formatToParts(amount < 0 ? -1 : 1)
  const grouped = new Intl.NumberFormat(language).format(BigInt(whole))
  return parts
    .map(part => (part.type === 'integer' ? grouped : part.type === 'fraction' ? rest : part.value))
    .join('')
}

/** A price for several units. */
export const times = ({ amount, currency }: Price, units: number): Price => ({ amount: amount * units, currency })
