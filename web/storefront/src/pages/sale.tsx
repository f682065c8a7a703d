// A sale: countdown, offers, rules, and the one tap that buys. Before the opening only the clock
// is asked for; at the opening the sale is fetched again, each page after a moment of its own.

import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { type Answer, type Offer, type Sale as SaleDocument, type State, canBuy, money, times } from '@flashsale/sdk'
import { client, flow, language, orderPath, replace, words } from '../shop'
import { Bones, Countdown, Failed, Moment, Money, type Phase, Pill, Title, Trouble, phase } from '../parts'

/** While it sells, its stock is looked at again after so long, by half to one and a half of it. */
const LOOK_MS = 5_000
/** Pages that wait for an opening ask within so long after it. */
const JITTER_MS = 600

export function Sale({ id }: { id: string }) {
  const answer = useSignal<Answer<SaleDocument> | undefined>(undefined)
  const { purchase, state } = flow(`sale:${id}`)
  const load = async () => {
    const came = await client.sale(id)
    if (came.is === 'done' || answer.value?.is !== 'done') answer.value = came
  }
  useEffect(() => void load(), [id])
  const sale = answer.value?.is === 'done' ? answer.value.value : undefined
  const at = sale && phase(sale)
  useEffect(() => {
    if (at !== 'open' && at !== 'paused') return
    // The first look after an opening comes soon, and not from all pages at once.
    let timer = setTimeout(look, Math.random() * JITTER_MS)
    async function look() {
      if (document.visibilityState === 'visible') await load()
      timer = setTimeout(look, LOOK_MS * (0.5 + Math.random()))
    }
    return () => clearTimeout(timer)
  }, [id, at])

  // Once it is known what became of the purchase, the order's own page goes on.
  const held = state.value
  useEffect(() => {
    if (held?.at !== 'payable' && held?.at !== 'settled') return
    const { order_id, offer_id } = held.order
    purchase.leave()
    replace(orderPath(order_id, offer_id))
  }, [held])

  const { back } = words.value
  if (!answer.value) return <Bones />
  if (!sale || !at) return <Failed answer={answer.value as Exclude<typeof answer.value, { is: 'done' }>} retry={load} />
  return (
    <article class="sale">
      <a class="back" href="#/">{back}</a>
      <Head sale={sale} at={at} />
      <ul class="offers">
        {sale.offers.map(offer => <OfferCard key={offer.offer_id} {...{ sale, offer, at, state: held ?? { at: 'idle' }, purchase }} />)}
      </ul>
      <Rules sale={sale} />
    </article>
  )
}

function Head({ sale, at }: { sale: SaleDocument; at: Phase }) {
  const { states, opensIn, endsIn, opensAt, endedAt, pausedNow } = words.value
  return (
    <header class={`hero ${at}`}>
      <Pill kind={at}>{states[at]}</Pill>
      <Title>{sale.title}</Title>
      {at === 'not_started' && <Countdown to={sale.opens_at} label={opensIn} />}
      {(at === 'open' || at === 'paused') && <Countdown to={sale.closes_at} label={endsIn} />}
      <p class="fine">
        {at === 'not_started' && <>{opensAt} <Moment at={sale.opens_at} /></>}
        {at === 'ended' && <>{endedAt} <Moment at={sale.closes_at} /></>}
        {at === 'paused' && pausedNow}
      </p>
    </header>
  )
}

type Purchase = ReturnType<typeof flow>['purchase']

interface OfferProps {
  sale: SaleDocument
  offer: Offer
  at: Phase
  state: State
  purchase: Purchase
}

function OfferCard({ sale, offer, at, state, purchase }: OfferProps) {
  const { stock, perBuyer, buy, buyName, soon, soldOut, over, paused } = words.value
  const isMine = 'wish' in state && state.wish.offer_id === offer.offer_id
  const why = at === 'not_started' ? soon : at === 'ended' ? over : at === 'paused' || offer.paused ? paused : offer.stock === 'sold_out' ? soldOut : undefined
  const wish = { sale_id: sale.sale_id, offer_id: offer.offer_id, title: offer.title, quantity: 1, price: offer.price }
  return (
    <li class="card offer">
      <div class="offer-head">
        <h2>{offer.title}</h2>
        {at === 'open' && offer.stock && <Pill kind={offer.stock}>{stock[offer.stock]}</Pill>}
      </div>
      <p class="price large"><Money price={offer.price} /></p>
      <p class="fine">{perBuyer(offer.limit_per_buyer)}</p>
      {isMine && !canBuy(state) ? (
        <Progress state={state} purchase={purchase} />
      ) : (
        <>
          {isMine && state.at === 'refused' && <Refused {...{ state, purchase, wish }} />}
          <button type="button" class="primary" aria-label={why ? undefined : buyName(offer.title)} disabled={why !== undefined || !canBuy(state)} onClick={() => purchase.buy(wish)}>
            {why ?? buy}
          </button>
        </>
      )}
    </li>
  )
}

/** A purchase under way. */
function Progress({ state, purchase }: { state: State; purchase: Purchase }) {
  const { buying, buyingHint, pending, unknown, unknownHint, askAgain, seeOrders } = words.value
  if (state.at === 'unknown') {
    return (
      <div class="note trouble" role="alert">
        <strong>{unknown}</strong>
        <p>{unknownHint}</p>
        <div class="actions">
          <button type="button" class="primary" onClick={purchase.again}>{askAgain}</button>
          <a class="button" href="#/orders">{seeOrders}</a>
        </div>
      </div>
    )
  }
  return (
    <div class="note busy" role="status">
      <strong><i class="spinner" aria-hidden="true" />{state.at === 'pending' ? pending : buying}</strong>
      <p>{buyingHint}</p>
    </div>
  )
}

function Refused({ state, purchase, wish }: { state: Extract<State, { at: 'refused' }>; purchase: Purchase; wish: Extract<State, { at: 'refused' }>['wish'] }) {
  const { dismiss, seeOrders, maybe, buyAt } = words.value
  const { problem, isUnsure } = state
  const changed = problem.code === 'price_changed' ? (problem.current as { price?: typeof wish.price } | undefined)?.price : undefined
  return (
    <Trouble problem={problem}>
      {isUnsure && <p>{maybe}</p>}
      {(isUnsure || problem.code === 'limit_reached') && <a class="button" href="#/orders">{seeOrders}</a>}
      {changed && <button type="button" onClick={() => purchase.buy({ ...wish, price: changed })}>{buyAt(money(times(changed, wish.quantity), language.value))}</button>}
      <button type="button" onClick={purchase.leave}>{dismiss}</button>
    </Trouble>
  )
}

function Rules({ sale }: { sale: SaleDocument }) {
  const { rules, payWithin, perPhone, perId, members, pickup, code, returns } = words.value
  const all = [
    payWithin(Math.round((sale.payment_window_s ?? 900) / 60)),
    sale.limit_by === 'phone' && perPhone,
    sale.limit_by === 'id_hash' && perId,
    sale.members_only && members,
    sale.fulfilment === 'pickup' && pickup,
    sale.fulfilment === 'code' && code,
    sale.after_sale_days !== undefined && returns(sale.after_sale_days),
  ].filter(rule => typeof rule === 'string')
  return (
    <section class="rules">
      <h2>{rules}</h2>
      <ul>{all.map(rule => <li key={rule}>{rule}</li>)}</ul>
    </section>
  )
}
