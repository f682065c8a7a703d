// What all pages share: which shop it is, the language, the buyer's session, the server's clock,
// whether the network answers, and the purchases that are under way. State is in signals.

import { computed, effect, signal } from '@preact/signals'
import { Client, type Keep, Purchase, type Session, ServerClock, type State, fetchStream, fetchTransport } from '@flashsale/sdk'
import { LANGUAGES, type Language, type Words } from './words'

/** Kept texts; a browser that keeps nothing forgets them at the reload, and all else works. */
export const keep: Keep = {
  get(name) {
    try {
      return localStorage.getItem(`flashsale.${name}`) ?? undefined
    } catch {
      return undefined
    }
  },
  set(name, text) {
    try {
      if (text === undefined) localStorage.removeItem(`flashsale.${name}`)
      else localStorage.setItem(`flashsale.${name}`, text)
    } catch {
      // Nothing is kept.
    }
  },
}

const asked = new URLSearchParams(location.search)
const [defaultTenant = '7', defaultShop = ''] = document.querySelector<HTMLMetaElement>('meta[name=shop]')?.content.split(' ') ?? []

/** The shop's number, by which its sales are listed, and its code, by which it is branded. */
export const tenant = asked.get('tenant') ?? defaultTenant
const shopCode = asked.get('shop') ?? (asked.has('tenant') ? '' : defaultShop)

const isLanguage = (name: string | undefined): name is Language => name !== undefined && name in LANGUAGES
const kept = keep.get('language')
export const language = signal<Language>(isLanguage(kept) ? kept : navigator.language.startsWith('zh') ? 'zh-CN' : 'en')
export const words = computed<Words>(() => LANGUAGES[language.value])
effect(() => {
  document.documentElement.lang = language.value
  keep.set('language', language.value)
})

/** Whether the last request was answered. */
export const isReachable = signal(navigator.onLine)
addEventListener('online', () => (isReachable.value = true))
addEventListener('offline', () => (isReachable.value = false))

const transport = fetchTransport()

/** The buyer's session; a login of the shop's own may put it there under the same name. */
const sessionName = `session.${tenant}`
function session(): Session | undefined {
  try {
    const session = JSON.parse(keep.get(sessionName) ?? 'null') as Session | null
    const now = clock.now() ?? Date.now()
    return session && Date.parse(session.expires_at) > now ? session : undefined
  } catch {
    return undefined
  }
}

export const isLoggedIn = () => session() !== undefined
/** The server refuses the session: the next purchase logs in anew. */
export const forgetSession = () => keep.set(sessionName, undefined)

/** One login at a time, whoever asks for it. */
let loggingIn: Promise<Session | undefined> | undefined
function login(): Promise<Session | undefined> {
  loggingIn ??= client.demoLogin().then(answer => {
    loggingIn = undefined
    if (answer.is !== 'done') return undefined
    keep.set(sessionName, JSON.stringify(answer.value))
    return answer.value
  })
  return loggingIn
}

export const clock = new ServerClock(() => performance.now())
export const client = new Client({
  transport: async request => {
    try {
      const response = await transport(request)
      isReachable.value = true
      return response
    } catch (error) {
      isReachable.value = false
      throw error
    }
  },
  token: () => session()?.token,
  sleep: ms => new Promise(wake => setTimeout(wake, ms)),
  chance: Math.random,
})

/** The server's time, once a second, for what counts down; `undefined` until it is known. */
export const now = signal<number | undefined>(undefined)
const tick = () => (now.value = clock.now())
setInterval(tick, 250)

/** Between two looks at the server's clock while a page waits. */
const CLOCK_EVERY_MS = 60_000
export async function synchronise(afresh = false): Promise<void> {
  await clock.sync(client, afresh)
  tick()
}
void synchronise()
setInterval(() => document.visibilityState === 'visible' && void synchronise(), CLOCK_EVERY_MS)

/** Branding, as it was the last time until the server answers, so that nothing jumps. */
interface Look {
  name?: string
  primary?: string
  footer?: string
}
export const look = signal<Look>(JSON.parse(keep.get(`look.${shopCode}`) ?? '{}') as Look)
if (shopCode) {
  void client.branding(shopCode).then(answer => {
    if (answer.is !== 'done') return
    const { name, colours, texts } = answer.value
    const primary = colours.find(colour => colour.name === 'primary')?.value
    const footer = texts.find(text => text.name === 'footer')?.value
    look.value = { name, ...(primary ? { primary } : {}), ...(footer ? { footer } : {}) }
    keep.set(`look.${shopCode}`, JSON.stringify(look.value))
  })
}
effect(() => {
  const { primary } = look.value
  if (!primary || !/^#[0-9a-f]{6}$/i.test(primary)) return
  const style = document.documentElement.style
  style.setProperty('--accent', primary)
  style.setProperty('--on-accent', isLight(primary) ? '#161413' : '#ffffff')
})

/** Whether dark text reads better on a colour than white does (WCAG's relative luminance). */
function isLight(colour: string): boolean {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map(at => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179
}

/** Where the buyer is: the part of the address after `#`. */
export const route = signal(location.hash.slice(1) || '/')
addEventListener('hashchange', () => (route.value = location.hash.slice(1) || '/'))
export const go = (path: string) => (location.hash = path)
/** The same without a step back to where the buyer is now. */
export const replace = (path: string) => location.replace(`#${path}`)
export const orderPath = (order: string, offer: string) => `/orders/${order}/${offer}`

/** From a payment page the buyer comes back to `/`, and is led on to the order. */
const RETURN_MS = 3_600_000
function openPage(page: string): void {
  keep.set('return', JSON.stringify({ route: route.value, atMs: Date.now() }))
  const { pathname, search, protocol, href } = new URL(page, location.href)
  // The simulated bank is this very server, under whichever name the buyer reached it.
  if (pathname.startsWith('/simulated/')) location.assign(pathname + search)
  else if (protocol === 'https:' || protocol === 'alipays:' || protocol === 'weixin:') location.assign(href)
}
const returning = JSON.parse(keep.get('return') ?? 'null') as { route: string; atMs: number } | null
keep.set('return', undefined)
if (returning && route.value === '/' && Date.now() - returning.atMs < RETURN_MS) replace(returning.route)

/** A purchase with its state as a signal. */
export interface Flow {
  purchase: Purchase
  state: ReturnType<typeof signal<State>>
}
const flows = new Map<string, Flow>()

/** The purchase of this name; it goes on where a reload left it, whichever page is shown. */
export function flow(name: string): Flow {
  const known = flows.get(name)
  if (known) return known
  const state = signal<State>({ at: 'idle' })
  const newKey = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, '0')).join('')
  const ports = { client, keep, newKey, nowMs: Date.now, login, open: openPage, stream: fetchStream(() => session()?.token) }
  const purchase = new Purchase(`flow.${tenant}.${name}`, ports, next => (state.value = next))
  const made = { purchase, state }
  flows.set(name, made)
  purchase.resume()
  return made
}

const wakeAll = () => {
  if (document.visibilityState !== 'visible') return
  void synchronise(true)
  for (const { purchase } of flows.values()) purchase.wake()
}
addEventListener('pageshow', event => event.persisted && wakeAll())
addEventListener('online', wakeAll)
document.addEventListener('visibilitychange', wakeAll)
