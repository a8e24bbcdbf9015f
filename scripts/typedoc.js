/** Runs in the pages of the documentation site. */

/** What scrolls sideways can be reached, and scrolled, by keyboard. */
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries)
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0
    else target.removeAttribute('tabindex')
})
for (const wide of document.querySelectorAll('.wide, pre > code')) sizes.observe(wide)

/** Sections of the navigation are open until the reader closes them. TypeDoc's script adds them when it has read them. */
const navigation = document.getElementById('tsd-nav-container')
new MutationObserver(() => {
  for (const section of navigation.querySelectorAll(':scope > li > details')) {
    const { key } = section.querySelector('summary').dataset
    if (localStorage.getItem(`tsd-accordion-${key}`) === null) section.open = true
  }
}).observe(navigation, { childList: true })

/** A result of the search is an option of a list, in which screen readers find no link: the option itself leads on. */
const results = document.getElementById('tsd-search-results')
new MutationObserver(() => {
  for (const link of results.querySelectorAll('a[href]')) {
    const { href } = link
    link.removeAttribute('href')
    link.removeAttribute('tabindex')
    link.addEventListener('click', ({ ctrlKey, metaKey }) => (ctrlKey || metaKey ? open(href) : location.assign(href)))
  }
}).observe(results, { childList: true })
