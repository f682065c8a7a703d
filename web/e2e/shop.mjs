// Goal: a shopper buys and pays with thumb or mouse alone, whatever network and clock do. Method:
// the real program on an empty folder, a real Chromium; each case is a buyer of its own.
//
//   FLASHSALE=../target/debug/flashsale node e2e/shop.mjs [folder for screenshots]

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { chromium } from 'playwright-core'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const shots = process.argv[2]
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, locale: 'zh-CN' }
const DESKTOP = { viewport: { width: 1280, height: 800 }, locale: 'en-GB' }
const DARK = { ...PHONE, locale: 'en-GB', colorScheme: 'dark' }
/** Bytes and requests until the list of sales is there; the budgets of the first load. */
const FIRST_SCRIPT_BYTES_MAX = 30 * 1024
const FIRST_REQUESTS_MAX = 12

const check = (holds, what) => {
  if (!holds) throw new Error(what)
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  return port
}

/** The program on an empty folder, and where its greeting says that the shop is. */
async function serve() {
  const data = mkdtempSync(join(tmpdir(), 'flashsale-web-'))
  const [port, admin] = [await freePort(), await freePort()]
  const program = spawn(resolve(process.env.FLASHSALE), ['serve', '--data', join(data, 'd'), '--port', port, '--admin-port', admin])
  let said = ''
  for await (const text of program.stdout) {
    said += text
    if (said.includes('End it:')) break
  }
  const url = /shop +(http:\S+)/.exec(said)?.[1]
  check(url, `the greeting names the shop: ${said}`)
  const stop = async () => {
    program.kill('SIGTERM')
    await once(program, 'exit')
    rmSync(data, { recursive: true })
  }
  return { url, stop }
}

const shop = await serve()
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage'] })

/** A new buyer's page, with what it does wrong. */
async function open(options, prepare = async () => undefined) {
  const context = await browser.newContext(options)
  await context.addInitScript(() => {
    globalThis.shifts = 0
    new PerformanceObserver(list => {
      for (const shift of list.getEntries()) if (!shift.hadRecentInput) globalThis.shifts += shift.value
    }).observe({ type: 'layout-shift', buffered: true })
  })
  const page = await context.newPage()
  const wrong = []
  page.on('pageerror', error => wrong.push(String(error)))
  page.on('console', message => message.type() === 'error' && !/Failed to load resource/.test(message.text()) && wrong.push(message.text()))
  await prepare(page, context)
  await page.goto(shop.url)
  await page.waitForSelector('a.card')
  return { page, context, wrong }
}

/** What every screen must be: accessible, large enough to touch, at rest. */
async function inspect(page, what) {
  await page.evaluate(axe)
  const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'] }))
  check(found.violations.length === 0, `${what}: ${JSON.stringify(found.violations.map(({ id, nodes }) => [id, nodes[0]?.html]))}`)
  const small = await page.$$eval('a, button', all => all.filter(target => target.offsetParent && !target.classList.contains('skip') && target.getBoundingClientRect().height < 44).map(target => target.outerHTML))
  check(small.length === 0, `${what}: targets of less than 44 px: ${small}`)
  const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
  check(width <= 0, `${what}: ${width} px too wide`)
  const shifts = await page.evaluate(() => globalThis.shifts)
  check(shifts <= 0.05, `${what}: the layout shifted by ${shifts}`)
}

const toSale = async page => {
  await page.click('a.card')
  await page.waitForSelector('.offer button.primary:not([disabled])')
}
const buy = async page => {
  await toSale(page)
  await page.click('.offer button.primary')
  await page.waitForSelector('.steps', { timeout: 30_000 })
}
/** The buyer's orders, as the server has them. */
const orders = page => page.evaluate(async () => {
  const { token } = JSON.parse(localStorage.getItem('flashsale.session.7'))
  return (await (await fetch('/v1/orders', { headers: { authorization: `Bearer ${token}` } })).json()).orders
})

async function whole(name, options) {
  const requests = []
  const { page, context, wrong } = await open(options, async page => page.on('requestfinished', request => requests.push(request)))
  const sizes = await Promise.all(requests.filter(request => request.url().endsWith('.js')).map(request => request.sizes()))
  check(sizes.reduce((sum, { responseBodySize }) => sum + responseBodySize, 0) <= FIRST_SCRIPT_BYTES_MAX, 'the first load is small')
  check(requests.length <= FIRST_REQUESTS_MAX, `${requests.length} requests`)
  const shot = async what => {
    await inspect(page, `${name} ${what}`)
    if (shots) await page.screenshot({ path: `${shots}/${name}-${what}.png` })
  }
  await shot('list')
  await toSale(page)
  await shot('sale')
  await page.click('.offer button.primary')
  await page.waitForSelector('.steps', { timeout: 30_000 })
  await shot('pay')
  await page.click('.hero .primary')
  await page.waitForURL(/simulated\/cashier/)
  if (shots) await page.screenshot({ path: `${shots}/${name}-cashier.png` })
  // The back button: nothing is paid yet, and the page says so.
  await page.goBack()
  await page.waitForSelector('.spinner')
  check((await orders(page))[0].status === 'pending_payment', 'the page confirms, and the row is unpaid')
  await shot('confirming')
  await page.click('.hero .wide')
  await page.waitForURL(/simulated\/cashier/)
  await page.click('form:first-of-type button')
  await page.click('p a')
  await page.waitForSelector('.tick', { timeout: 30_000 })
  await shot('paid')
  check((await orders(page))[0].status === 'paid', 'the row is paid')
  await page.click('.bar nav a')
  await page.waitForSelector('.pill.paid')
  await shot('orders')
  check(wrong.length === 0, wrong.join('; '))
  await context.close()
}

const cases = {
  'the whole purchase to paid, on a phone in Chinese': () => whole('phone', PHONE),
  'the whole purchase to paid, on a desktop in English': () => whole('desktop', DESKTOP),
  'the whole purchase to paid, in the dark': () => whole('dark', DARK),

  'a double tap buys once': async () => {
    const { page, context } = await open(PHONE)
    await toSale(page)
    await page.dblclick('.offer button.primary')
    await page.waitForSelector('.steps', { timeout: 30_000 })
    check((await orders(page)).length === 1, 'one order')
    await context.close()
  },

  'an answer that is lost is asked for again, with the same key': async () => {
    const keys = []
    const { page, context } = await open(PHONE, (page, context) => context.route('**/v1/orders', async route => {
      if (route.request().method() !== 'POST') return route.continue()
      keys.push(route.request().headers()['idempotency-key'])
      if (keys.length > 2) return route.continue()
      if (keys.length === 2) await route.fetch()
      return route.abort()
    }))
    await buy(page)
    check(keys.length === 3 && new Set(keys).size === 1, `keys: ${keys}`)
    check((await orders(page)).length === 1, 'one order')
    await context.close()
  },

  'a reload amid a purchase goes on with it': async () => {
    let sent = 0
    const { page, context } = await open(PHONE, (page, context) => context.route('**/v1/orders', async route => {
      if (route.request().method() !== 'POST') return route.continue()
      // The first one arrives, and its page is gone before the answer.
      return ++sent === 1 ? void (await route.fetch()) : route.continue()
    }))
    await toSale(page)
    await page.click('.offer button.primary')
    await page.waitForSelector('.note.busy')
    await page.reload()
    await page.waitForSelector('.steps', { timeout: 30_000 })
    check((await orders(page)).length === 1, 'one order')
    await context.close()
  },

  'without a network the page says so, and goes on by itself': async () => {
    const { page, context } = await open(PHONE)
    await buy(page)
    await context.setOffline(true)
    await page.waitForSelector('.offline')
    await inspect(page, 'offline')
    if (shots) await page.screenshot({ path: `${shots}/phone-offline.png` })
    await context.setOffline(false)
    await page.waitForSelector('.offline', { state: 'detached', timeout: 20_000 })
    await context.close()
  },

  'an unpaid order is cancelled after one more question, and can be bought again': async () => {
    const { page, context } = await open(DESKTOP)
    await buy(page)
    await page.click('.hero .quiet')
    await inspect(page, 'cancel')
    await page.click('.hero .actions button')
    await page.waitForSelector('.hero.cancelled', { timeout: 30_000 })
    await inspect(page, 'cancelled')
    await page.click('.brand')
    await buy(page)
    const statuses = (await orders(page)).map(order => order.status).sort()
    check(String(statuses) === 'cancelled,pending_payment', String(statuses))
    await context.close()
  },

  'a phone whose clock is an hour wrong counts down by the server': async () => {
    const { page, context } = await open(PHONE, page => page.addInitScript(() => {
      const { now } = Date
      Date.now = () => now() + 3_600_000
    }))
    await buy(page)
    const { left, digits } = await page.evaluate(async () => {
      const { token } = JSON.parse(localStorage.getItem('flashsale.session.7'))
      const [order] = (await (await fetch('/v1/orders', { headers: { authorization: `Bearer ${token}` } })).json()).orders
      const { epoch_ms } = await (await fetch('/v1/time')).json()
      const digits = [...document.querySelectorAll('.countdown-part b')].map(part => Number(part.textContent))
      return { left: (Date.parse(order.pay_by) - epoch_ms) / 1000, digits }
    })
    check(Math.abs(digits[0] * 60 + digits[1] - left) <= 2, `${digits} shown, ${left} s left`)
    await context.close()
  },

  'a refusal says what to do, and limit_reached leads to the order': async () => {
    let answer = { status: 409, json: { code: 'sold_out', detail: '', status: 409 } }
    const { page, context } = await open(DESKTOP, (page, context) => context.route('**/v1/orders', route => {
      if (route.request().method() !== 'POST') return route.continue()
      return answer ? route.fulfill({ ...answer, contentType: 'application/problem+json' }) : route.continue()
    }))
    await toSale(page)
    await page.click('.offer button.primary')
    await page.waitForSelector('.trouble')
    await inspect(page, 'sold out')
    if (shots) await page.screenshot({ path: `${shots}/desktop-refused.png` })
    answer = undefined
    await page.click('.offer button.primary')
    await page.waitForSelector('.steps', { timeout: 30_000 })
    await page.click('.brand')
    await toSale(page)
    await page.click('.offer button.primary')
    await page.click('.trouble a[href="#/orders"]')
    await page.waitForSelector('.pill.pending_payment')
    await context.close()
  },

  'two tabs of one buyer show the same order': async () => {
    const { page, context } = await open(PHONE)
    await buy(page)
    const other = await context.newPage()
    await other.goto(page.url())
    await other.waitForSelector('.steps', { timeout: 30_000 })
    await other.click('.hero .quiet')
    await other.click('.hero .actions button')
    await page.waitForSelector('.hero.cancelled', { timeout: 30_000 })
    await context.close()
  },

  'a sale that is not there, and a list that does not come, say so': async () => {
    const { page, context } = await open(DESKTOP)
    await page.goto(`${shop.url}#/sales/424242`)
    await page.waitForSelector('.blank')
    await inspect(page, 'no such sale')
    await context.route('**/v1/sales?*', route => route.abort())
    await page.goto(`${shop.url}#/`)
    await page.reload()
    await page.waitForSelector('.blank button', { timeout: 20_000 })
    await inspect(page, 'failed')
    await context.unroute('**/v1/sales?*')
    await page.click('.blank button')
    await page.waitForSelector('a.card', { timeout: 20_000 })
    await context.close()
  },
}

let [passed, failed] = [0, 0]
for (const [name, run] of Object.entries(cases).filter(([name]) => name.includes(process.env.ONLY ?? ''))) {
  try {
    await run()
    passed++
    console.log(`ok      ${name}`)
  } catch (error) {
    failed++
    console.log(`FAILED  ${name}: ${error.message}`)
  }
}
await browser.close()
await shop.stop()
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed ? 1 : 0)
