// Parts that several pages show.

import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { type Answer, type ListedSale, type Price, type Problem, type Sale, money } from '@flashsale/sdk'
import { language, now, words } from './shop'

export const Money = ({ price }: { price: Price }) => <span class="money">{money(price, language.value)}</span>

/** A moment in the reader's own time. */
export function Moment({ at }: { at: string }) {
  const format = new Intl.DateTimeFormat(language.value, { dateStyle: 'medium', timeStyle: 'short' })
  return <time dateTime={at}>{format.format(new Date(at))}</time>
}

export type Phase = 'not_started' | 'open' | 'paused' | 'ended'

/** What a sale is by the server's clock, which runs on between two looks at the sale. */
export function phase(sale: Pick<Sale | ListedSale, 'state' | 'opens_at' | 'closes_at'>): Phase {
  const at = now.value
  if (at === undefined) return sale.state as Phase
  if (at >= Date.parse(sale.closes_at)) return 'ended'
  if (at < Date.parse(sale.opens_at)) return 'not_started'
  return sale.state === 'paused' ? 'paused' : 'open'
}

/** Time that is left, in boxes that keep their width. */
export function Countdown({ to, label, isSmall }: { to: string; label: string; isSmall?: boolean }) {
  const { days, hours, minutes, seconds } = words.value
  const left = now.value === undefined ? undefined : Math.max(0, Math.ceil((Date.parse(to) - now.value) / 1000))
  const part = (units: number) => (left === undefined ? '––' : String(units).padStart(2, '0'))
  const all: [string, string, boolean][] = [
    [part(Math.floor((left ?? 0) / 86_400)), days, (left ?? 0) >= 86_400],
    [part(Math.floor((left ?? 0) / 3600) % 24), hours, !isSmall || (left ?? 0) >= 3600],
    [part(Math.floor((left ?? 0) / 60) % 60), minutes, true],
    [part((left ?? 0) % 60), seconds, true],
  ]
  return (
    <div class={isSmall ? 'countdown small' : 'countdown'} role="timer" aria-label={label}>
      <span class="countdown-label">{label}</span>
      <span class="countdown-parts">
        {all.filter(([, , isShown]) => isShown).map(([digits, unit]) => (
          <span class="countdown-part" key={unit}><b>{digits}</b><small>{unit}</small></span>
        ))}
      </span>
    </div>
  )
}

export const Pill = ({ kind, children }: { kind: string; children: ComponentChildren }) => <span class={`pill ${kind}`}>{children}</span>

/** The title of a page, which takes the focus when the page comes. */
export function Title({ children }: { children: string }) {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    document.title = children
    heading.current?.focus({ preventScroll: true })
  }, [children])
  return <h1 ref={heading} tabIndex={-1}>{children}</h1>
}

/** Nothing is here, or it did not come: what it is, what to do, and the button that does it. */
export function Blank({ title, hint, children }: { title: string; hint: string; children?: ComponentChildren }) {
  return (
    <section class="blank">
      <svg viewBox="0 0 48 48" aria-hidden="true"><path d="M10 18h28l-3 22H13zM17 18a7 7 0 0 1 14 0" /></svg>
      <Title>{title}</Title>
      <p>{hint}</p>
      {children}
    </section>
  )
}

/** As large as what will be there. */
export const Bones = () => (
  <div aria-hidden="true"><div class="bone bone-title" /><div class="bone bone-card" /><div class="bone bone-card" /></div>
)

/** What went wrong, and what to do. */
export function Trouble({ problem, children }: { problem: Problem | 'lost'; children?: ComponentChildren }) {
  const { problems, problem: other, lost, failed, trace } = words.value
  const [title, hint] = problem === 'lost' ? [failed, lost] : (problems[problem.code] ?? other)
  const id = problem !== 'lost' && !problems[problem.code] ? problem.trace_id : undefined
  return (
    <div class="note trouble" role="alert">
      <strong>{title}</strong>
      <p>{hint}</p>
      {id && <p class="fine">{trace} <code>{id}</code></p>}
      {children && <div class="actions">{children}</div>}
    </div>
  )
}

/** A page's data that did not come. */
export function Failed({ answer, retry }: { answer: Exclude<Answer<unknown>, { is: 'done' }>; retry: () => void }) {
  const { failed, failedHint, notFound, notFoundHint, again, back } = words.value
  const isMissing = answer.is === 'refused' && answer.status === 404
  return isMissing ? (
    <Blank title={notFound} hint={notFoundHint}><a class="button" href="#/">{back}</a></Blank>
  ) : (
    <Blank title={failed} hint={failedHint}><button type="button" onClick={retry}>{again}</button></Blank>
  )
}
