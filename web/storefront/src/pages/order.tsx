// An order: pay, confirm, cancel, and what became of it. `paid` is shown when the server says so.

import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { type Held, type State, canBuy } from '@flashsale/sdk'
import { flow, words } from '../shop'
import { Blank, Bones, Countdown, Moment, Money, Title, Trouble } from '../parts'
import { useTitles } from '../titles'

/** The only provider that is wired to a shop's pages so far. */
const METHOD = 'simulated'

export function OrderPage({ id, offer }: { id: string; offer: string }) {
  const { purchase, state } = flow(`order:${id}`)
  useEffect(() => {
    // A reload may have resumed it already, with more than the address tells.
    if (canBuy(purchase.state)) purchase.show({ order_id: id, offer_id: offer, sale_id: '', quantity: 1, status: 'pending' })
  }, [id])
  const held: State = state.value ?? { at: 'idle' }
  const order = 'order' in held ? held.order : undefined
  const titles = useTitles(order?.sale_id ? [order.sale_id] : [])
  const { missing, missingHint, orders, loadingOrder } = words.value
  if (held.at === 'missing') return <Blank title={missing} hint={missingHint}><a class="button" href="#/orders">{orders}</a></Blank>
  if (!order || held.at === 'looking' || !order.total) {
    return <div role="status" aria-label={loadingOrder}><Bones /></div>
  }
  return (
    <article class="order">
      <a class="back" href="#/orders">{orders}</a>
      <Now state={held} order={order} purchase={purchase} />
      <section class="card facts">
        <h2>{titles[order.offer_id] ?? '\u00a0'}</h2>
        <Facts order={order} />
      </section>
    </article>
  )
}

type Purchase = ReturnType<typeof flow>['purchase']

/** Where it stands, and the one thing to do next. */
function Now({ state, order, purchase }: { state: State; order: Held; purchase: Purchase }) {
  const { statuses, ends, toPay, payIn, pay, simulated, opening, confirming, confirmingHint, payAgain, closing, toSales } = words.value
  const isAsking = useSignal(false)
  const due = order.pay_by && <Countdown to={order.pay_by} label={payIn} isSmall />
  if (state.at === 'settled') {
    return (
      <section class={`hero ${order.status}`} role="status">
        {['paid', 'fulfilled', 'completed'].includes(order.status) && <><Tick /><Steps done={3} /></>}
        <Title>{statuses[order.status] ?? order.status}</Title>
        <p>{ends[order.status]}</p>
        <a class="button wide" href="#/">{toSales}</a>
      </section>
    )
  }
  if (state.at === 'closing' || state.at === 'cancelling') {
    return <section class="hero" role="status"><Title>{statuses.pending_payment ?? ''}</Title><p><i class="spinner" aria-hidden="true" />{closing}</p></section>
  }
  const isConfirming = state.at === 'confirming'
  const isOpening = state.at === 'opening'
  return (
    <section class="hero due">
      <Steps done={1} />
      <Title>{isConfirming ? confirming : toPay}</Title>
      {due}
      {'problem' in state && state.problem && <Trouble problem={state.problem} />}
      {isConfirming ? (
        <p role="status"><i class="spinner" aria-hidden="true" />{confirmingHint}</p>
      ) : (
        <p class="fine">{simulated}</p>
      )}
      <button type="button" class={isConfirming ? 'wide' : 'primary'} disabled={isOpening} onClick={() => purchase.pay(METHOD)}>
        {isOpening ? opening : isConfirming ? payAgain : <>{pay} {order.total && <Money price={order.total} />}</>}
      </button>
      <Cancel isAsking={isAsking} isDisabled={isOpening} cancel={purchase.cancel} />
    </section>
  )
}

/** Asks once more before it cancels, in the same place. */
function Cancel({ isAsking, isDisabled, cancel }: { isAsking: { value: boolean }; isDisabled: boolean; cancel: () => void }) {
  const { cancel: wish, cancelSure, yesCancel, keep } = words.value
  if (!isAsking.value) {
    return <button type="button" class="quiet wide" disabled={isDisabled} onClick={() => (isAsking.value = true)}>{wish}</button>
  }
  return (
    <div class="note" role="group" aria-label={cancelSure}>
      <strong>{cancelSure}</strong>
      <div class="actions">
        <button type="button" onClick={() => { isAsking.value = false; cancel() }}>{yesCancel}</button>
        <button type="button" onClick={() => (isAsking.value = false)}>{keep}</button>
      </div>
    </div>
  )
}

/** The three steps; `done` of them are behind the buyer. */
function Steps({ done }: { done: number }) {
  return (
    <ol class="steps">
      {words.value.steps.map((name, at) => (
        <li key={name} class={at < done ? 'done' : ''} aria-current={at === done ? 'step' : undefined}>{name}</li>
      ))}
    </ol>
  )
}

const Tick = () => <svg class="tick" viewBox="0 0 48 48" aria-hidden="true"><circle cx="24" cy="24" r="22" /><path d="m14 25 7 7 13-15" /></svg>

function Facts({ order }: { order: Held }) {
  const { total, units, placed, order: number } = words.value
  return (
    <dl>
      <div><dt>{units}</dt><dd>{order.quantity}</dd></div>
      {order.total && <div><dt>{total}</dt><dd><Money price={order.total} /></dd></div>}
      {order.reserved_at && <div><dt>{placed}</dt><dd><Moment at={order.reserved_at} /></dd></div>}
      <div><dt>{number}</dt><dd><code>{order.order_id}</code></dd></div>
    </dl>
  )
}
