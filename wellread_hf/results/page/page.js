// Tables that sort by a click or by Enter on a head, and rows that a word or a choice filters.
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0];
  for (const head of table.tHead.rows[0].cells) {
    head.firstChild.addEventListener("click", () => {
      // Numbers fall at first, words rise; the next click turns them round.
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const order = head.ariaSort === first ? second : first;
      const value = (row) => row.cells[head.cellIndex].textContent;
      const number = (text) => parseFloat(text.replaceAll(",", "").replace("−", "-"));
      body.append(...[...body.rows].sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        // What has no value stays below.
        if (!a || !b) return !a - !b;
        const rising = number(a) - number(b) || a.localeCompare(b);
        return order === "ascending" ? rising : -rising;
      }));
      for (const each of table.tHead.rows[0].cells) each.ariaSort = each === head ? order : null;
    });
  }
}
const [words, kind] = [document.getElementById("words"), document.getElementById("kind")];
for (const control of words ? [words, kind] : []) {
  control.addEventListener("input", () => {
    let shown = 0;
    for (const row of document.querySelectorAll("#rows tbody tr")) {
      const found = row.textContent.toLowerCase().includes(words.value.toLowerCase());
      row.hidden = !found || (kind.value && row.lastElementChild.textContent !== kind.value);
      shown += !row.hidden;
    }
    document.getElementById("shown").textContent = `${shown} rows`;
  });
}
