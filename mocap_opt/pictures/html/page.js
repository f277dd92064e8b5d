// Links the timeline, the memories and the wafer: all show the scene and the instant chosen above them.
(function () {
  "use strict";
  const scenes = JSON.parse(document.getElementById("mocap-scenes").textContent);
  const chooser = document.getElementById("scene");
  const slider = document.getElementById("instant");
  const readout = document.getElementById("readout");
  const kinds = ["chunks", "waits", "transfers"];
  const stack = ["static", "reserve", "prefix", "own", "hosted"];
  let model = null;

  function column(name, field) {
    return model(name).data[field];
  }

  function largest(values) {
    let most = 0;
    for (const value of values) most = Math.max(most, value);
    return most;
  }

  function chooseScene() {
    const n = Number(chooser.value);
    scenes.forEach((_, other) => {
      for (const kind of kinds) model(`${kind}-${other}`).visible = other === n;
    });
    const edges = column(`edges-${n}`, "edge");
    const end = edges[edges.length - 1];
    const range = model("time-range");
    range.setv({ start: 0, end: end, reset_start: 0, reset_end: end });
    slider.max = edges.length - 2;
    for (const kind of ["link", "port"]) {
      const most = largest(column(`${kind}-${n}`, kind));
      model(`${kind}-map`).high = Math.max(most, 1e-9);
      document.getElementById(`${kind}-most`).textContent = `${most.toPrecision(3)} %`;
    }
    document.getElementById("scene-latency").textContent = scenes[n].latency;
    showInstant();
  }

  function showInstant() {
    const n = Number(chooser.value);
    const k = Math.min(Number(slider.value), Number(slider.max));
    const edges = column(`edges-${n}`, "edge");
    model("now").setv({ left: edges[k], right: edges[k + 1] });
    const what = scenes[n].slots ? `slot ${k} of ${edges.length - 1}` : `interval ${k} of ${edges.length - 1}`;
    const text = `${what}: ${edges[k].toPrecision(6)} to ${edges[k + 1].toPrecision(6)} ${scenes[n].unit}`;
    readout.textContent = text;
    slider.setAttribute("aria-valuetext", text);
    showMemory(n, k);
    showWafer(n, k);
  }

  function showMemory(n, k) {
    const now = model("memory-now");
    const data = Object.assign({}, now.data);
    const count = data.stage.length;
    for (const name of ["prefix", "own", "hosted"]) {
      data[name] = column(`held-${n}`, name).slice(k * count, (k + 1) * count);
    }
    data.reserve = column(`fixed-${n}`, "reserve");
    data.peak = column(`fixed-${n}`, "peak");
    let floor = new Float64Array(count);
    for (const name of stack) {
      data[`from_${name}`] = floor;
      floor = floor.map((below, i) => below + data[name][i]);
      data[`to_${name}`] = floor;
    }
    data.total = floor;
    now.data = data;
  }

  function showWafer(n, k) {
    const memory = model("memory-now").data;
    const links = model("links-now");
    const count = links.data.name.length;
    links.data = Object.assign({}, links.data, {
      load: column(`link-${n}`, "link").slice(k * count, (k + 1) * count),
    });
    const ports = model("ports-now");
    const stages = memory.stage.length;
    const load = column(`port-${n}`, "port").slice(k * stages, (k + 1) * stages);
    const owner = Array.from(ports.data.stage);
    ports.data = Object.assign({}, ports.data, {
      load: owner.map((stage) => load[stage]),
      held: owner.map((stage) => (100 * memory.total[stage]) / memory.capacity[stage]),
    });
  }

  // Called by the timeline with the time that was tapped on.
  window.mocapSeek = function (time) {
    const edges = column(`edges-${chooser.value}`, "edge");
    let k = 0;
    while (k < edges.length - 2 && edges[k + 1] <= time) k += 1;
    slider.value = k;
    showInstant();
  };

  function start() {
    const page = window.Bokeh && Bokeh.documents[0];
    if (!page || !page.get_model_by_name("wafer")) {
      window.setTimeout(start, 30);
      return;
    }
    const known = new Map();
    model = function (name) {
      if (!known.has(name)) known.set(name, page.get_model_by_name(name));
      return known.get(name);
    };
    chooser.addEventListener("change", chooseScene);
    slider.addEventListener("input", showInstant);
    chooseScene();
    document.body.dataset.ready = "yes";
  }
  start();
})();
