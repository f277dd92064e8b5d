// Links the timelines, the memories and the wafers: all show the instant chosen above them, each board a scene of its own.
(function () {
  "use strict";
  const boards = JSON.parse(document.getElementById("mocap-scenes").textContent);
  const slider = document.getElementById("instant");
  const kinds = ["chunks", "waits", "transfers"];
  const stack = ["static", "reserve", "prefix", "own", "hosted"];
  let model = null;

  function element(board, name) {
    return document.getElementById(board.prefix + name);
  }

  function column(board, name, field) {
    return model(board.prefix + name).data[field];
  }

  function chosen(board) {
    return Number(element(board, "scene").value);
  }

  function edgesOf(board) {
    return column(board, `edges-${chosen(board)}`, "edge");
  }

  function endOf(board) {
    const edges = edgesOf(board);
    return edges[edges.length - 1];
  }

  // The slider goes through the intervals of the board that takes longest; the others follow in time.
  function leader() {
    return boards.reduce((most, board) => (endOf(board) > endOf(most) ? board : most));
  }

  function largest(values) {
    let most = 0;
    for (const value of values) most = Math.max(most, value);
    return most;
  }

  function intervalAt(edges, time) {
    let k = 0;
    while (k < edges.length - 2 && edges[k + 1] <= time) k += 1;
    return k;
  }

  function chooseScenes() {
    for (const board of boards) {
      board.scenes.forEach((_, other) => {
        for (const kind of kinds) model(`${board.prefix}${kind}-${other}`).visible = other === chosen(board);
      });
      element(board, "scene-latency").textContent = board.scenes[chosen(board)].latency;
    }
    const end = endOf(leader());
    model("time-range").setv({ start: 0, end: end, reset_start: 0, reset_end: end });
    slider.max = edgesOf(leader()).length - 2;
    for (const kind of ["link", "port"]) {
      const most = Math.max(...boards.map((board) => largest(column(board, `${kind}-${chosen(board)}`, kind))));
      for (const board of boards) {
        model(`${board.prefix}${kind}-map`).high = Math.max(most, 1e-9);
        element(board, `${kind}-most`).textContent = `${most.toPrecision(3)} %`;
      }
    }
    showInstant();
  }

  // The instant at which a memory of the leader is fullest: the most there is to see.
  function fullest() {
    const board = leader();
    const n = chosen(board);
    const sizes = model(`${board.prefix}memory-now`).data.capacity;
    const parts = ["prefix", "own", "hosted"].map((name) => column(board, `held-${n}`, name));
    const fixed = column(board, `fixed-${n}`, "reserve");
    const always = model(`${board.prefix}memory-now`).data.static;
    let most = -1;
    let at = 0;
    for (let i = 0; i < parts[0].length; i++) {
      const k = i % sizes.length;
      const part = (always[k] + fixed[k] + parts[0][i] + parts[1][i] + parts[2][i]) / sizes[k];
      if (part > most * (1 + 1e-9)) [most, at] = [part, Math.floor(i / sizes.length)];
    }
    return at;
  }

  function showInstant() {
    const first = leader();
    const at = Math.min(Number(slider.value), Number(slider.max));
    const ends = edgesOf(first);
    const middle = (ends[at] + ends[at + 1]) / 2;
    for (const board of boards) {
      const edges = edgesOf(board);
      const k = board === first ? at : intervalAt(edges, middle);
      const text = readoutOf(board, edges, k, middle);
      model(`${board.prefix}now`).setv({ left: edges[k], right: edges[k + 1] });
      element(board, "readout").textContent = text;
      if (board === first) slider.setAttribute("aria-valuetext", text);
      showMemory(board, k);
      showWafer(board, k);
    }
  }

  function readoutOf(board, edges, k, middle) {
    const scene = board.scenes[chosen(board)];
    const count = edges.length - 1;
    const what = scene.slots ? `slot ${k} of ${count}` : `interval ${k} of ${count}`;
    const text = `${what}: ${edges[k].toPrecision(6)} to ${edges[k + 1].toPrecision(6)} ${scene.unit}`;
    return middle > edges[count] ? `${text}, done` : text;
  }

  function showMemory(board, k) {
    const n = chosen(board);
    const now = model(`${board.prefix}memory-now`);
    const data = Object.assign({}, now.data);
    const count = data.stage.length;
    for (const name of ["prefix", "own", "hosted"]) {
      data[name] = column(board, `held-${n}`, name).slice(k * count, (k + 1) * count);
    }
    data.reserve = column(board, `fixed-${n}`, "reserve");
    data.peak = column(board, `fixed-${n}`, "peak");
    let floor = new Float64Array(count);
    for (const name of stack) {
      data[`from_${name}`] = floor;
      floor = floor.map((below, i) => below + data[name][i]);
      data[`to_${name}`] = floor;
    }
    data.total = floor;
    now.data = data;
  }

  function showWafer(board, k) {
    const n = chosen(board);
    const memory = model(`${board.prefix}memory-now`).data;
    const links = model(`${board.prefix}links-now`);
    const count = links.data.name.length;
    links.data = Object.assign({}, links.data, {
      load: column(board, `link-${n}`, "link").slice(k * count, (k + 1) * count),
    });
    const ports = model(`${board.prefix}ports-now`);
    const stages = memory.stage.length;
    const load = column(board, `port-${n}`, "port").slice(k * stages, (k + 1) * stages);
    const owner = Array.from(ports.data.stage);
    ports.data = Object.assign({}, ports.data, {
      load: owner.map((stage) => load[stage]),
      held: owner.map((stage) => (100 * memory.total[stage]) / memory.capacity[stage]),
    });
  }

  // Called by a timeline with the time that was tapped on.
  window.mocapSeek = function (time) {
    slider.value = intervalAt(edgesOf(leader()), time);
    showInstant();
  };

  // Lists to copy: the clipboard where the browser allows it, or else the list to select.
  function copyList(button) {
    const list = button.dataset.copy;
    const shown = () => window.prompt("chunk lengths", list);
    if (!navigator.clipboard) return shown();
    return navigator.clipboard.writeText(list).then(() => {
      button.textContent = "copied";
      window.setTimeout(() => (button.textContent = "copy"), 1500);
    }, shown);
  }

  // On paper pictures of the plots stand, as wide as the page: the plots themselves know the screen's width alone.
  function beforePrint() {
    afterPrint();
    for (const place of document.querySelectorAll("[data-root-id]")) {
      const plot = Bokeh.documents[0].get_model_by_id(place.dataset.rootId);
      const view = Bokeh.index.find_one(plot);
      const picture = view.export("png", true).canvas;
      picture.style.width = `${picture.width / view.canvas_view.pixel_ratio}px`;
      const holder = document.createElement("div");
      holder.className = "printed";
      holder.append(picture);
      place.after(holder);
    }
    document.body.classList.add("printing");
  }

  function afterPrint() {
    document.body.classList.remove("printing");
    for (const holder of document.querySelectorAll(".printed")) holder.remove();
  }

  function start() {
    const page = window.Bokeh && Bokeh.documents[0];
    if (!page || boards.some((board) => !page.get_model_by_name(`${board.prefix}wafer`))) {
      window.setTimeout(start, 30);
      return;
    }
    const known = new Map();
    model = function (name) {
      if (!known.has(name)) known.set(name, page.get_model_by_name(name));
      return known.get(name);
    };
    for (const board of boards) element(board, "scene").addEventListener("change", chooseScenes);
    slider.addEventListener("input", showInstant);
    chooseScenes();
    slider.value = fullest();
    showInstant();
    window.addEventListener("beforeprint", beforePrint);
    window.addEventListener("afterprint", afterPrint);
    document.body.dataset.ready = "yes";
  }

  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", () => copyList(button));
  }
  if (boards.length) start();
})();
