//! A USB bus in memory behind the host traits: devices at ports, addresses,
//! resets, data toggles, halts and split routes as USB 2.0 has them.
//!
//! What a driver does against the rules is written down in
//! [`World::violations`], which every test looks at last.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use embassy_time::{Duration, Timer, with_timeout};
use embassy_usb_driver::host::{
    DeviceEvent, HostError, PipeError, SplitInfo, SplitSpeed, TimeoutConfig, UsbHostAllocator,
    UsbHostController, UsbPipe, pipe,
};
use embassy_usb_driver::{EndpointInfo, EndpointType, Speed};

/// How long a transfer takes.
const TRANSFER: Duration = Duration::from_micros(100);
/// How often a transfer that is answered with NAK is tried again.
const NAK: Duration = Duration::from_micros(500);
/// After which a device that does not answer is given up.
const NO_ANSWER: Duration = Duration::from_millis(1);

/// A device as a fake has to describe it. A transfer is given and taken whole.
pub(crate) trait Function {
    fn device_descriptor(&self) -> [u8; 18];
    fn configurations(&self) -> Vec<Vec<u8>>;
    fn string(&self, _index: u8, _language: u16) -> Option<Vec<u8>> {
        None
    }
    fn reset(&mut self) {}
    fn set_configuration(&mut self, _value: u8) {}
    fn set_interface(&mut self, _number: u8, _setting: u8) {}
    /// None is a STALL. The data goes in or comes out by the request.
    fn control(&mut self, setup: [u8; 8], data: &[u8]) -> Option<Vec<u8>>;
    /// None is a NAK.
    fn take_in(&mut self, endpoint: u8) -> Option<Vec<u8>>;
    /// False is a NAK.
    fn put_out(&mut self, _endpoint: u8, _data: &[u8]) -> bool {
        false
    }
}

impl<T: Function> Function for Rc<RefCell<T>> {
    fn device_descriptor(&self) -> [u8; 18] {
        self.borrow().device_descriptor()
    }
    fn configurations(&self) -> Vec<Vec<u8>> {
        self.borrow().configurations()
    }
    fn string(&self, index: u8, language: u16) -> Option<Vec<u8>> {
        self.borrow().string(index, language)
    }
    fn reset(&mut self) {
        self.borrow_mut().reset();
    }
    fn set_configuration(&mut self, value: u8) {
        self.borrow_mut().set_configuration(value);
    }
    fn set_interface(&mut self, number: u8, setting: u8) {
        self.borrow_mut().set_interface(number, setting);
    }
    fn control(&mut self, setup: [u8; 8], data: &[u8]) -> Option<Vec<u8>> {
        self.borrow_mut().control(setup, data)
    }
    fn take_in(&mut self, endpoint: u8) -> Option<Vec<u8>> {
        self.borrow_mut().take_in(endpoint)
    }
    fn put_out(&mut self, endpoint: u8, data: &[u8]) -> bool {
        self.borrow_mut().put_out(endpoint, data)
    }
}

/// Identifies a device that was once plugged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Id(usize);

/// Where a device is, or is to be, plugged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum At {
    Root,
    Port(Id, u8),
}

struct Device {
    function: Box<dyn Function>,
    speed: Speed,
    at: Option<At>,
    /// None until it was reset.
    address: Option<u8>,
    configured: bool,
    /// By endpoint address.
    toggles: HashMap<u8, bool>,
    halted: Vec<u8>,
    faults: HashMap<u8, VecDeque<PipeError>>,
    /// Empty for a device that is no hub.
    ports: Vec<Port>,
}

#[derive(Default, Clone)]
struct Port {
    powered: bool,
    enabled: bool,
    change: u16,
    /// Never comes out of a reset.
    jammed: bool,
}

/// The bus and what is plugged into it.
#[derive(Default)]
pub(crate) struct World {
    devices: Vec<Device>,
    events: VecDeque<DeviceEvent>,
    pub(crate) violations: Vec<String>,
    /// Bulk IN requests that were given up although the device was there.
    pub(crate) abandoned: u32,
    pub(crate) bus_resets: u32,
    /// Requests for which a control pipe got an answer.
    pub(crate) requests: u32,
}

impl World {
    pub(crate) fn plug(&mut self, function: impl Function + 'static, speed: Speed, at: At) -> Id {
        self.insert(Box::new(function), speed, at, 0)
    }

    pub(crate) fn plug_hub(&mut self, speed: Speed, at: At, ports: u8) -> Id {
        self.insert(Box::new(HubFunction { ports, speed }), speed, at, ports)
    }

    fn insert(&mut self, function: Box<dyn Function>, speed: Speed, at: At, ports: u8) -> Id {
        self.devices.push(Device {
            function,
            speed,
            at: None,
            address: None,
            configured: false,
            toggles: HashMap::new(),
            halted: Vec::new(),
            faults: HashMap::new(),
            ports: vec![Port::default(); usize::from(ports)],
        });
        let id = Id(self.devices.len() - 1);
        self.replug(id, at);
        id
    }

    /// Plugs a device in again that was pulled.
    pub(crate) fn replug(&mut self, id: Id, at: At) {
        let device = &mut self.devices[id.0];
        assert_eq!(device.at, None, "it is plugged in already");
        (device.at, device.address, device.configured) = (Some(at), None, false);
        match at {
            At::Root => {
                // The controller resets it before it tells.
                let speed = device.speed;
                self.reset(id);
                self.events.push_back(DeviceEvent::Connected(speed));
            }
            At::Port(..) => {
                if let Some(port) = self.port(at) {
                    port.change |= 1;
                }
            }
        }
    }

    pub(crate) fn pull(&mut self, id: Id) {
        let at = self.devices[id.0].at.take().expect("it is not plugged in");
        match self.port(at) {
            None => self.events.push_back(DeviceEvent::Disconnected),
            Some(port) => {
                port.change |= 1;
                if std::mem::take(&mut port.enabled) {
                    port.change |= 1 << 1;
                }
            }
        }
    }

    /// Lets the next transfers of an endpoint fail. After a STALL it is
    /// halted; after anything else its toggle is not the one the host expects.
    pub(crate) fn fail(&mut self, id: Id, endpoint: u8, error: PipeError, times: usize) {
        let faults = self.devices[id.0].faults.entry(endpoint).or_default();
        faults.extend(std::iter::repeat_n(error, times));
    }

    /// Lets a port never come out of a reset.
    pub(crate) fn jam(&mut self, hub: Id, port: u8) {
        self.devices[hub.0].ports[usize::from(port - 1)].jammed = true;
    }

    pub(crate) fn overcurrent(&mut self, hub: Id, port: u8) {
        let port = &mut self.devices[hub.0].ports[usize::from(port - 1)];
        port.change |= 1 << 3;
    }

    fn port(&mut self, at: At) -> Option<&mut Port> {
        match at {
            At::Root => None,
            At::Port(hub, port) => self.devices[hub.0].ports.get_mut(usize::from(port - 1)),
        }
    }

    fn reset(&mut self, id: Id) {
        let device = &mut self.devices[id.0];
        (device.address, device.configured) = (Some(0), false);
        device.toggles.clear();
        device.halted.clear();
        device.function.reset();
        for port in &mut device.ports {
            *port = Port {
                change: port.change,
                jammed: port.jammed,
                ..Port::default()
            };
        }
        let here = |device: &Device| matches!(device.at, Some(At::Port(hub, _)) if hub == id);
        let below: Vec<_> = (0..self.devices.len())
            .filter(|&i| here(&self.devices[i]))
            .collect();
        for index in below {
            self.devices[index].address = None;
        }
    }

    /// Whether packets get through to it.
    fn reachable(&self, id: Id) -> bool {
        match self.devices[id.0].at {
            None => false,
            Some(At::Root) => true,
            Some(At::Port(hub, port)) => {
                self.devices[hub.0].ports[usize::from(port - 1)].enabled && self.reachable(hub)
            }
        }
    }

    /// The one device that answers to an address.
    fn device(&mut self, address: u8) -> Option<Id> {
        let answers: Vec<_> = (0..self.devices.len())
            .map(Id)
            .filter(|&id| self.devices[id.0].address == Some(address) && self.reachable(id))
            .collect();
        if answers.len() > 1 {
            self.violations
                .push(format!("two devices answer to address {address}"));
        }
        answers.first().copied()
    }

    /// How its packets have to be routed.
    fn route(&self, id: Id) -> Option<SplitInfo> {
        let speed = match self.devices[id.0].speed {
            Speed::High => return None,
            Speed::Full => SplitSpeed::Full,
            Speed::Low => SplitSpeed::Low,
        };
        let mut below = id;
        while let Some(At::Port(hub, port)) = self.devices[below.0].at {
            if self.devices[hub.0].speed == Speed::High {
                let address = self.devices[hub.0].address.unwrap_or(0);
                return Some(SplitInfo::new(address, port, speed));
            }
            below = hub;
        }
        None
    }

    /// The device that a pipe reaches, if it is routed as it should be.
    fn reached(&mut self, address: u8, split: Option<SplitInfo>) -> Option<Id> {
        let id = self.device(address)?;
        let expected = self.route(id);
        if split != expected {
            self.violations
                .push(format!("routed {split:?} instead of {expected:?}"));
            return None;
        }
        Some(id)
    }

    fn fault(&mut self, id: Id, endpoint: u8) -> Option<PipeError> {
        let device = &mut self.devices[id.0];
        let error = device.faults.get_mut(&endpoint)?.pop_front()?;
        if error == PipeError::Stall && endpoint & 0x7F != 0 {
            device.halted.push(endpoint);
        } else {
            let toggle = device.toggles.entry(endpoint).or_default();
            *toggle = !*toggle;
        }
        Some(error)
    }

    fn control(&mut self, id: Id, setup: [u8; 8], data: &[u8]) -> Option<Vec<u8>> {
        self.requests += 1;
        let [kind, request, low, high, index, language, ..] = setup;
        let device = &mut self.devices[id.0];
        match (kind, request) {
            (0x80, 6) => match high {
                1 => Some(device.function.device_descriptor().to_vec()),
                2 => device
                    .function
                    .configurations()
                    .get(usize::from(low))
                    .cloned(),
                3 => device
                    .function
                    .string(low, u16::from_le_bytes([index, language])),
                _ => None,
            },
            (0x00, 5) => {
                device.address = Some(low);
                Some(Vec::new())
            }
            (0x00, 9) => {
                device.configured = true;
                device.toggles.clear();
                device.halted.clear();
                device.function.set_configuration(low);
                Some(Vec::new())
            }
            (0x01, 11) => {
                device.toggles.clear();
                device.function.set_interface(index, low);
                Some(Vec::new())
            }
            (0x02, 1) => {
                device.toggles.insert(index, false);
                device.halted.retain(|&endpoint| endpoint != index);
                Some(Vec::new())
            }
            (0x23 | 0xA3, _) if !device.ports.is_empty() => {
                self.port_request(id, request, low, index)
            }
            _ => device.function.control(setup, data),
        }
    }

    fn port_request(&mut self, hub: Id, request: u8, feature: u8, port: u8) -> Option<Vec<u8>> {
        let slot = usize::from(port.checked_sub(1)?);
        let at = At::Port(hub, port);
        let child = (0..self.devices.len())
            .map(Id)
            .find(|id| self.devices[id.0].at == Some(at));
        let child_speed = child.map(|child| self.devices[child.0].speed);
        let state = self.devices[hub.0].ports.get_mut(slot)?;
        match (request, feature) {
            (0, 0) => {
                let mut status = u16::from(state.enabled) << 1 | u16::from(state.powered) << 8;
                if let Some(speed) = child_speed.filter(|_| state.powered) {
                    status |= 1;
                    status |= match speed {
                        Speed::Low => 1 << 9,
                        // A high-speed device is one only after its reset.
                        Speed::High if state.enabled => 1 << 10,
                        _ => 0,
                    };
                }
                if state.change & 1 << 3 != 0 {
                    status |= 1 << 3;
                }
                Some([status.to_le_bytes(), state.change.to_le_bytes()].concat())
            }
            (1, 1) => {
                state.enabled = false;
                Some(Vec::new())
            }
            (1, 16..=20) => {
                state.change &= !(1 << (feature - 16));
                Some(Vec::new())
            }
            (3, 8) => {
                state.powered = true;
                Some(Vec::new())
            }
            (3, 4) => {
                if let Some(child) = child.filter(|_| !state.jammed) {
                    (state.enabled, state.change) = (true, state.change | 1 << 4);
                    self.reset(child);
                }
                Some(Vec::new())
            }
            _ => None,
        }
    }
}

/// A hub's descriptors; its ports are the bus's.
struct HubFunction {
    ports: u8,
    speed: Speed,
}

impl Function for HubFunction {
    fn device_descriptor(&self) -> [u8; 18] {
        match self.speed {
            Speed::High => device_descriptor(0x0424, 0x9514, 9),
            _ => device_descriptor(0x0409, 0x55AA, 9),
        }
    }

    fn configurations(&self) -> Vec<Vec<u8>> {
        vec![vec![
            9, 2, 25, 0, 1, 1, 0, 0xE0, 1, 9, 4, 0, 0, 1, 9, 0, 0, 0, 7, 5, 0x81, 3, 1, 0, 12,
        ]]
    }

    fn control(&mut self, setup: [u8; 8], _data: &[u8]) -> Option<Vec<u8>> {
        // 100 ms until the power is good, no individual switching.
        (setup[..4] == [0xA0, 6, 0, 0x29]).then(|| vec![9, 0x29, self.ports, 9, 0, 50, 1, 0, 0xFF])
    }

    fn take_in(&mut self, _endpoint: u8) -> Option<Vec<u8>> {
        None
    }
}

/// A device descriptor of one configuration.
pub(crate) fn device_descriptor(vendor: u16, product: u16, class: u8) -> [u8; 18] {
    let ([v, w], [p, q]) = (vendor.to_le_bytes(), product.to_le_bytes());
    [18, 1, 0, 2, class, 0, 0, 64, v, w, p, q, 0, 1, 0, 0, 0, 1]
}

/// The bus as tests and drivers share it.
pub(crate) type Shared = Rc<RefCell<World>>;

/// The controller at its root.
pub(crate) struct Controller(pub(crate) Shared);

impl<'d> UsbHostController<'d> for Controller {
    type Allocator = Allocator;

    fn allocator(&self) -> Allocator {
        Allocator(self.0.clone())
    }

    async fn wait_for_device_event(&mut self) -> DeviceEvent {
        loop {
            let event = self.0.borrow_mut().events.pop_front();
            match event {
                Some(event) => return event,
                None => Timer::after(NAK).await,
            }
        }
    }

    async fn bus_reset(&mut self) {
        Timer::after_millis(70).await;
        let mut world = self.0.borrow_mut();
        world.bus_resets += 1;
        let at_root = (0..world.devices.len()).map(Id);
        let root = at_root
            .into_iter()
            .find(|id| world.devices[id.0].at == Some(At::Root));
        if let Some(root) = root {
            world.reset(root);
        }
    }
}

#[derive(Clone)]
pub(crate) struct Allocator(Shared);

impl<'d> UsbHostAllocator<'d> for Allocator {
    type Pipe<T: pipe::Type, D: pipe::Direction> = Pipe;

    fn alloc_pipe<T: pipe::Type, D: pipe::Direction>(
        &self,
        addr: u8,
        endpoint: &EndpointInfo,
        split: Option<SplitInfo>,
    ) -> Result<Pipe, HostError> {
        let mut world = self.0.borrow_mut();
        if endpoint.ep_type != T::ep_type() {
            world
                .violations
                .push(format!("{endpoint:?} is of another type than its pipe"));
        }
        Ok(Pipe {
            world: self.0.clone(),
            addr,
            endpoint: *endpoint,
            split,
            toggle: false,
            deadline: Duration::from_millis(500),
        })
    }
}

pub(crate) struct Pipe {
    world: Shared,
    addr: u8,
    endpoint: EndpointInfo,
    split: Option<SplitInfo>,
    toggle: bool,
    deadline: Duration,
}

/// Notices a bulk IN request that is dropped.
struct Pending<'a>(&'a Pipe, bool);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let mut world = self.0.world.borrow_mut();
        if !self.1 && world.device(self.0.addr).is_some() {
            world.abandoned += 1;
        }
    }
}

impl Pipe {
    async fn request(&mut self, setup: [u8; 8], data: &[u8]) -> Result<Vec<u8>, PipeError> {
        let answer = async {
            Timer::after(TRANSFER).await;
            let (world, addr) = (&self.world, self.addr);
            let reached = world.borrow_mut().reached(addr, self.split);
            let Some(id) = reached else {
                Timer::after(NO_ANSWER).await;
                return Err(PipeError::BadResponse);
            };
            let mut world = world.borrow_mut();
            if let Some(error) = world.fault(id, 0) {
                return Err(error);
            }
            world.control(id, setup, data).ok_or(PipeError::Stall)
        };
        with_timeout(self.deadline, answer)
            .await
            .unwrap_or(Err(PipeError::Timeout))
    }

    /// The device at the other end, if a transfer can begin.
    fn begin(&self) -> Result<Id, PipeError> {
        let mut world = self.world.borrow_mut();
        let id = world
            .reached(self.addr, self.split)
            .ok_or(PipeError::BadResponse)?;
        let endpoint = u8::from(self.endpoint.addr);
        if world.devices[id.0].halted.contains(&endpoint) {
            return Err(PipeError::Stall);
        }
        if !world.devices[id.0].configured {
            world
                .violations
                .push(format!("endpoint {endpoint:#x} used unconfigured"));
        }
        if let Some(error) = world.fault(id, endpoint) {
            return Err(error);
        }
        Ok(id)
    }

    /// Moves both toggles on by so many bytes.
    fn finish(&mut self, id: Id, bytes: usize, short: bool) -> Result<(), PipeError> {
        let size = usize::from(self.endpoint.max_packet_size);
        let packets = if short {
            bytes / size + 1
        } else {
            bytes / size
        };
        let mut world = self.world.borrow_mut();
        let endpoint = u8::from(self.endpoint.addr);
        let toggle = world.devices[id.0].toggles.entry(endpoint).or_default();
        if *toggle != self.toggle {
            return Err(PipeError::DataToggleError);
        }
        *toggle ^= packets % 2 == 1;
        self.toggle = *toggle;
        Ok(())
    }
}

impl<T: pipe::Type, D: pipe::Direction> UsbPipe<T, D> for Pipe {
    async fn control_in(&mut self, setup: &[u8; 8], buf: &mut [u8]) -> Result<usize, PipeError> {
        let asked = usize::from(u16::from_le_bytes([setup[6], setup[7]]));
        if setup[0] & 0x80 == 0 || asked != buf.len() {
            self.world
                .borrow_mut()
                .violations
                .push(format!("control IN with {setup:x?}"));
        }
        let answer = self.request(*setup, &[]).await?;
        let count = answer.len().min(asked);
        buf[..count].copy_from_slice(&answer[..count]);
        Ok(count)
    }

    async fn control_out(&mut self, setup: &[u8; 8], buf: &[u8]) -> Result<(), PipeError> {
        if setup[0] & 0x80 != 0
            || usize::from(u16::from_le_bytes([setup[6], setup[7]])) != buf.len()
        {
            self.world
                .borrow_mut()
                .violations
                .push(format!("control OUT with {setup:x?}"));
        }
        self.request(*setup, buf).await.map(drop)
    }

    async fn request_in(&mut self, buf: &mut [u8]) -> Result<usize, PipeError> {
        let bulk = T::ep_type() == EndpointType::Bulk;
        if bulk && (buf.len() < 2048 || !buf.len().is_multiple_of(512)) {
            self.world
                .borrow_mut()
                .violations
                .push(format!("bulk IN of {} bytes", buf.len()));
        }
        let (id, data) = {
            let mut pending = Pending(self, !bulk);
            let outcome = loop {
                Timer::after(TRANSFER).await;
                let id = match self.begin() {
                    Ok(id) => id,
                    Err(error) => break Err(error),
                };
                let endpoint = u8::from(self.endpoint.addr);
                let data = self.world.borrow_mut().devices[id.0]
                    .function
                    .take_in(endpoint);
                match data {
                    Some(data) => break Ok((id, data)),
                    None if bulk => Timer::after(NAK).await,
                    None => Timer::after_millis(self.endpoint.interval_ms.into()).await,
                }
            };
            pending.1 = true;
            outcome?
        };
        if data.len() > buf.len() {
            return Err(PipeError::Babble);
        }
        self.finish(id, data.len(), data.len() < buf.len())?;
        buf[..data.len()].copy_from_slice(&data);
        Ok(data.len())
    }

    async fn request_out(&mut self, buf: &[u8], end: bool) -> Result<(), PipeError> {
        let size = usize::from(self.endpoint.max_packet_size);
        if buf.len().is_multiple_of(size) && !end {
            self.world
                .borrow_mut()
                .violations
                .push("a transfer without an end".into());
        }
        loop {
            Timer::after(TRANSFER).await;
            let id = self.begin()?;
            let endpoint = u8::from(self.endpoint.addr);
            if self.world.borrow_mut().devices[id.0]
                .function
                .put_out(endpoint, buf)
            {
                return self.finish(id, buf.len(), true);
            }
            Timer::after(NAK).await;
        }
    }

    fn set_timeout(&mut self, timeout: TimeoutConfig) {
        self.deadline = Duration::from_micros(timeout.data_timeout.as_micros() as u64);
    }

    fn reset_data_toggle(&mut self) {
        self.toggle = false;
    }
}
