// The shop's frame: bar, connection, the page of the address, footer.

import { render } from 'preact'
import { useEffect } from 'preact/hooks'
import './style.css'
import { OrderPage } from './pages/order'
import { Orders } from './pages/orders'
import { Sale } from './pages/sale'
import { Sales } from './pages/sales'
import { Blank } from './parts'
import { isReachable, language, look, route, words } from './shop'

function Page() {
  const [, place, id, offer] = route.value.split('/')
  const { notFound, notFoundHint, back } = words.value
  if (!place) return <Sales />
  if (place === 'sales' && id) return <Sale id={id} key={id} />
  if (place === 'orders' && id && offer) return <OrderPage id={id} offer={offer} key={id} />
  if (place === 'orders' && !id) return <Orders />
  return <Blank title={notFound} hint={notFoundHint}><a class="button" href="#/">{back}</a></Blank>
}

function App() {
  const { shop, orders, language: other, skip, offline, footer } = words.value
  useEffect(() => scrollTo(0, 0), [route.value])
  return (
    <>
      <a class="skip" href="#main" onClick={event => { event.preventDefault(); document.getElementById('main')?.focus() }}>{skip}</a>
      <header class="bar">
        <a class="brand" href="#/">{look.value.name ?? shop}</a>
        <nav>
          <a href="#/orders" aria-current={route.value === '/orders' ? 'page' : undefined}>{orders}</a>
          <button type="button" class="quiet" lang={language.value === 'en' ? 'zh-CN' : 'en'} onClick={() => (language.value = language.value === 'en' ? 'zh-CN' : 'en')}>{other}</button>
        </nav>
      </header>
      <div role="status">{!isReachable.value && <p class="offline">{offline}</p>}</div>
      <main id="main" class="page" tabIndex={-1}><Page /></main>
      <footer class="foot">{look.value.footer ?? footer}</footer>
    </>
  )
}

const root = document.getElementById('app')
if (root) {
  root.textContent = ''
  render(<App />, root)
}
