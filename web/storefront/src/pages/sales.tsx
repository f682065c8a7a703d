// The list of the shop's sales.

import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import type { Answer, ListedSale, SaleList } from '@flashsale/sdk'
import { client, tenant, words } from '../shop'
import { Blank, Bones, Countdown, Failed, Moment, Money, Pill, Title, phase } from '../parts'

/** Kept while other pages are shown, so that the way back shows it at once. */
let last: Answer<SaleList> | undefined

export function Sales() {
  const answer = useSignal(last)
  const load = async () => {
    const came = await client.sales(tenant)
    // A list that was there stays while the network is away.
    if (came.is === 'done' || answer.value?.is !== 'done') answer.value = last = came
  }
  useEffect(() => void load(), [])
  const { sales, noSales, noSalesHint, again } = words.value
  if (!answer.value) return <Bones />
  if (answer.value.is !== 'done') return <Failed answer={answer.value} retry={load} />
  const list = answer.value.value.sales
  if (!list.length) {
    return <Blank title={noSales} hint={noSalesHint}><button type="button" onClick={load}>{again}</button></Blank>
  }
  return (
    <>
      <Title>{sales}</Title>
      <ul class="cards">{list.map(sale => <Card sale={sale} key={sale.sale_id} />)}</ul>
    </>
  )
}

function Card({ sale }: { sale: ListedSale }) {
  const { states, stock, from, opensIn, endsIn, endedAt } = words.value
  const at = phase(sale)
  return (
    <li>
      <a class={`card ${at}`} href={`#/sales/${sale.sale_id}`}>
        <span class="pills">
          <Pill kind={at}>{states[at]}</Pill>
          {at === 'open' && sale.stock && <Pill kind={sale.stock}>{stock[sale.stock]}</Pill>}
        </span>
        <h2>{sale.title}</h2>
        <span class="card-foot">
          {sale.price_from && <span class="price"><small>{sale.price_from.amount === sale.price_to?.amount ? '' : from} </small><Money price={sale.price_from} /></span>}
          {at === 'not_started' && <Countdown to={sale.opens_at} label={opensIn} isSmall />}
          {at === 'open' && <Countdown to={sale.closes_at} label={endsIn} isSmall />}
          {at === 'ended' && <span class="fine">{endedAt} <Moment at={sale.closes_at} /></span>}
        </span>
      </a>
    </li>
  )
}
