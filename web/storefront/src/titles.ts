// Titles of offers, which orders do not hold: read from their sales, each sale once.

import { signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { client } from './shop'

const titles = signal<Record<string, string>>({})
const asked = new Set<string>()

/** Titles by offer, as far as they are known; they are fetched for these sales. */
export function useTitles(sales: string[]): Record<string, string> {
  const wanted = [...new Set(sales)]
  useEffect(() => {
    for (const sale of wanted.filter(sale => !asked.has(sale))) {
      asked.add(sale)
      void client.sale(sale).then(answer => {
        if (answer.is === 'done') titles.value = { ...titles.value, ...Object.fromEntries(answer.value.offers.map(offer => [offer.offer_id, offer.title])) }
        else asked.delete(sale)
      })
    }
  }, [wanted.join()])
  return titles.value
}
