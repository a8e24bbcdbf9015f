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
