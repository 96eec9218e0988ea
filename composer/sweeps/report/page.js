// Sorts the jobs by the column whose head is clicked, empty ones last; remembers it, as the page reloads while the sweep runs.
(() => {
  const table = document.getElementById("jobs");
  if (!table) return;
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const words = new Intl.Collator(undefined, {numeric: true});
  const memory = "sort:" + location.pathname;
  const sort = (column, order) => {
    const rows = [...body.rows].map(row => [row.cells[column].dataset.v ?? row.cells[column].textContent.trim(), row]);
    const numbers = rows.every(([value]) => isFinite(value));
    rows.sort(([a], [b]) => a === "" || b === "" ? (a === "") - (b === "") : order * (numbers ? a - b : words.compare(a, b)));
    const sorted = document.createDocumentFragment();
    for (const [, row] of rows) sorted.append(row);
    body.append(sorted);
    heads.forEach((head, i) => head.setAttribute("aria-sort", i !== column ? "none" : order > 0 ? "ascending" : "descending"));
  };
  document.documentElement.classList.add("script");
  heads.forEach((head, i) => head.addEventListener("click", () => {
    const order = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    sort(i, order);
    try { sessionStorage.setItem(memory, JSON.stringify([head.textContent, order])); } catch {}
  }));
  try {
    const [name, order] = JSON.parse(sessionStorage.getItem(memory)) ?? [];
    const column = heads.findIndex(head => head.textContent === name);
    if (column >= 0) sort(column, order);
  } catch {}
})();
