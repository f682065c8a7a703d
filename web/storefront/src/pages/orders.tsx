// My orders, newest first.

import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import type { Answer, Order, OrderPage } from '@flashsale/sdk'
import { client, forgetSession, isLoggedIn, orderPath, words } from '../shop'
import { Blank, Bones, Failed, Moment, Money, Pill, Title } from '../parts'
import { useTitles } from '../titles'

const NONE: Answer<OrderPage> = { is: 'done', status: 200, value: { orders: [] } }

export function Orders() {
  const answer = useSignal<Answer<OrderPage> | undefined>(undefined)
  const load = async (cursor?: string) => {
    // Who never logged in has bought nothing.
    let came = isLoggedIn() ? await client.orders(cursor) : NONE
    if (came.is === 'refused' && came.status === 401) {
      forgetSession()
      came = NONE
    }
    const before = cursor && answer.value?.is === 'done' ? answer.value.value.orders : []
    if (came.is === 'done') answer.value = { ...came, value: { ...came.value, orders: [...before, ...came.value.orders] } }
    else if (answer.value?.is !== 'done') answer.value = came
  }
  useEffect(() => void load(), [])
  const orders = answer.value?.is === 'done' ? answer.value.value.orders : []
  const titles = useTitles(orders.map(order => order.sale_id))
  const { orders: title, noOrders, noOrdersHint, toSales, more } = words.value
  if (!answer.value) return <Bones />
  if (answer.value.is !== 'done') return <Failed answer={answer.value} retry={load} />
  if (!orders.length) return <Blank title={noOrders} hint={noOrdersHint}><a class="button primary" href="#/">{toSales}</a></Blank>
  const next = answer.value.value.next_cursor
  return (
    <>
      <Title>{title}</Title>
      <ul class="cards">{orders.map(order => <Card key={order.order_id} order={order} title={titles[order.offer_id]} />)}</ul>
      {next && <button type="button" class="wide" onClick={() => load(next)}>{more}</button>}
    </>
  )
}

function Card({ order, title }: { order: Order; title: string | undefined }) {
  const { statuses } = words.value
  return (
    <li>
      <a class="card" href={`#${orderPath(order.order_id, order.offer_id)}`}>
        <span class="pills"><Pill kind={order.status}>{statuses[order.status] ?? order.status}</Pill></span>
        <h2>{title ?? '\u00a0'}</h2>
        <span class="card-foot">
          {order.total && <span class="price"><Money price={order.total} /></span>}
          <span class="fine"><Moment at={order.reserved_at} /></span>
        </span>
      </a>
    </li>
  )
}
