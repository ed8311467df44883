// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";

/// @title Deposits that cover a requestor's promises to its workers, cashed with signed vouchers.
/// @notice A requestor opens a channel to a worker with a deposit and signs, off chain, vouchers for the whole amount that it
/// owes so far. Anybody may hand in a voucher; only the worker is paid, and never more than the deposit. The requestor
/// gets back what is unclaimed after announcing it and a thaw, or at once with the worker's signed release.
/// @dev One contract for one token on one chain. Nobody owns, pauses or upgrades it. README.md beside it has the invariants and
/// the test that holds each. Amounts are in the token's smallest unit (wei), times in Unix seconds.
contract RenderEscrow is EIP712, Multicall {
    using SafeERC20 for IERC20;

    /// @notice A requestor's promise: `cumulative` is everything owed in this epoch, not an increment.
    /// @dev The same words in the same order as `VOUCHER_TYPE` in the payment crate's voucher.rs.
    struct Voucher {
        address requestor;
        address worker;
        uint256 epoch;
        bytes32 job;
        uint256 cumulative;
        uint256 sequence;
        bytes32 receiptsRoot;
    }

    /// @notice A voucher with the requestor's signature, which must be the canonical one (`v` 27 or 28, low `s`).
    struct SignedVoucher {
        Voucher voucher;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @notice A worker's agreement that the epoch ends now and that `cumulative` is all it is owed in it.
    struct Release {
        address requestor;
        address worker;
        uint256 epoch;
        uint256 cumulative;
    }

    /// @notice A release with the worker's signature, which must be the canonical one.
    struct SignedRelease {
        Release release;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @notice A channel to open.
    struct Opening {
        address worker;
        uint24 epoch;
        uint96 deposit;
    }

    /// @notice The present or last epoch between a requestor and a worker, in one storage slot.
    /// @param deposit Everything put in, less what was returned.
    /// @param claimed What the worker was paid of it.
    /// @param withdrawableAt When the unclaimed rest may be withdrawn: 0 if not announced, 1 if the epoch is closed.
    /// @param epochs How many epochs were opened: the present one is one less, and the next one has this number.
    struct Channel {
        uint96 deposit;
        uint96 claimed;
        uint40 withdrawableAt;
        uint24 epochs;
    }

    /// @notice Who pays for what a hot key opens.
    /// @param owner Whose tokens it spends and who gets back what is unclaimed; zero for an account of its own.
    /// @param cap How much more it may put into channels.
    struct Delegation {
        address owner;
        uint96 cap;
    }

    /// @notice EIP-712 type hash of a voucher.
    bytes32 public constant VOUCHER_TYPEHASH = keccak256(
        "Voucher(address requestor,address worker,uint256 epoch,bytes32 job,uint256 cumulative,uint256 sequence,bytes32 receiptsRoot)"
    );

    /// @notice EIP-712 type hash of a release.
    bytes32 public constant RELEASE_TYPEHASH =
        keccak256("Release(address requestor,address worker,uint256 epoch,uint256 cumulative)");

    /// @notice The token that all amounts are of.
    IERC20 public immutable TOKEN;

    /// @notice Seconds between announcing a withdrawal and the withdrawal: 72 hours on Ethereum, where a congested or expensive
    /// day may keep workers from redeeming, 24 hours elsewhere.
    uint256 public immutable THAW;

    /// No announcement gives this time, as it is in 1970.
    uint40 private constant CLOSED = 1;

    /// @notice The channel of a requestor and a worker.
    mapping(address requestor => mapping(address worker => Channel)) public channels;

    /// @notice What a hot key may spend, and of whom.
    mapping(address hotKey => Delegation) public delegations;

    /// @dev Its epoch is the number of such events between the two before it: a word more would cost 256 gas for each channel.
    event Opened(address indexed requestor, address indexed worker, uint256 deposit);
    /// @param deposit The deposit after it.
    event ToppedUp(address indexed requestor, address indexed worker, uint256 epoch, uint256 deposit);
    /// @param claimed Everything paid in this epoch so far.
    event Redeemed(address indexed requestor, address indexed worker, uint256 epoch, uint256 claimed);
    event WithdrawalAnnounced(
        address indexed requestor, address indexed worker, uint256 epoch, uint256 withdrawableAt
    );
    /// @param returned What went back to whoever paid the deposit.
    event Closed(address indexed requestor, address indexed worker, uint256 epoch, uint256 returned);
    event OwnerServed(address indexed hotKey, address indexed owner);
    /// @param cap How much more the key may put into channels.
    event CapChanged(address indexed hotKey, address indexed owner, uint256 cap);

    /// The worker is the zero address or this contract, which could never spend what they are paid.
    error NotAWorker(address worker);
    /// Another number is due; `next` is the one of the next epoch.
    error NotTheNextEpoch(address worker, uint256 next);
    /// The present epoch has to be closed before another one is opened.
    error StillOpen(address worker);
    /// This epoch was never opened, or is closed.
    error NotOpen(address requestor, address worker, uint256 epoch);
    /// Not the canonical signature of who has to sign.
    error NotSigned();
    /// The token moved another amount than it was told to.
    error NotReceived();
    /// Only the requestor may, or the owner that it serves.
    error NotYours(address requestor);
    /// The withdrawal was announced before; the time stays.
    error AlreadyAnnounced(uint256 withdrawableAt);
    /// Not announced (0) or still thawing.
    error NotThawed(uint256 withdrawableAt);
    /// The worker is owed more than the deposit holds: top up first.
    error Short(uint256 deposit);
    /// The hot key serves an owner already, for good, or this one cannot be an owner.
    error CannotServe(address owner);
    /// The hot key may put no more than this into channels.
    error OverCap(uint256 cap);

    /// @param token The token; it must move exactly what it is told to.
    constructor(IERC20 token) EIP712("render escrow", "1") {
        TOKEN = token;
        THAW = block.chainid == 1 ? 72 hours : 24 hours;
    }

    /// @notice Opens the next epoch with `worker`, paid by the caller or the owner that it serves.
    /// @param epoch The number of epochs so far, so that an order that is sent twice opens one.
    function open(address worker, uint24 epoch, uint96 deposit) external {
        _open(channels[msg.sender][worker], worker, epoch, deposit);
        _collect(deposit);
    }

    /// @notice Opens many channels with one movement of tokens: all or none.
    function openMany(Opening[] calldata openings) external {
        mapping(address worker => Channel) storage own = channels[msg.sender];
        uint256 sum;
        for (uint256 i; i < openings.length; ++i) {
            Opening calldata opening = openings[i];
            _open(own[opening.worker], opening.worker, opening.epoch, opening.deposit);
            sum += opening.deposit;
        }
        _collect(sum);
    }

    /// @notice Adds to the caller's deposit, during a thaw too; an announced withdrawal keeps its time.
    function topUp(address worker, uint256 epoch, uint96 amount) external {
        Channel storage channel = _present(msg.sender, worker, epoch);
        uint96 deposit = channel.deposit + amount;
        channel.deposit = deposit;
        emit ToppedUp(msg.sender, worker, epoch, deposit);
        _collect(amount);
    }

    /// @notice Pays the worker what the voucher promises, as far as the deposit goes, less what it was paid before. The rest stays
    /// redeemable after a top-up. Anybody may call.
    /// @dev A voucher that pays nothing (an old one, a closed epoch) does not revert, so that nobody can make a batch fail by
    /// redeeming or releasing a part of it first.
    /// @return paid What the worker got; call without sending to see what a voucher is worth.
    function redeem(SignedVoucher calldata signed) external returns (uint256 paid) {
        return _redeem(signed);
    }

    /// @notice Redeems many vouchers, of one requestor or of several.
    /// @return paid What all workers got together.
    function redeemMany(SignedVoucher[] calldata signed) external returns (uint256 paid) {
        for (uint256 i; i < signed.length; ++i) {
            paid += _redeem(signed[i]);
        }
    }

    /// @notice Announces that the unclaimed rest will be withdrawn. Nobody can take an announcement back: the epoch ends.
    /// @param requestor The caller, or a hot key that serves the caller.
    function announceWithdrawal(address requestor, address worker, uint256 epoch) external {
        _onlyPayer(requestor);
        Channel storage channel = _present(requestor, worker, epoch);
        if (channel.withdrawableAt != 0) revert AlreadyAnnounced(channel.withdrawableAt);
        uint40 withdrawableAt = uint40(block.timestamp + THAW);
        channel.withdrawableAt = withdrawableAt;
        emit WithdrawalAnnounced(requestor, worker, epoch, withdrawableAt);
    }

    /// @notice Closes the epoch after the thaw and returns what is unclaimed to whoever paid the deposit.
    /// @param requestor The caller, or a hot key that serves the caller.
    function withdraw(address requestor, address worker, uint256 epoch) external {
        _onlyPayer(requestor);
        Channel storage channel = _present(requestor, worker, epoch);
        uint256 withdrawableAt = channel.withdrawableAt;
        if (withdrawableAt == 0 || block.timestamp < withdrawableAt) revert NotThawed(withdrawableAt);
        _pay(_payerOf(requestor), _close(channel, requestor, worker, epoch));
    }

    /// @notice Pays what the worker's release names and returns the rest at once.
    /// @dev The release is the worker's consent, the call the payer's: with only one of the two a worker could name what it
    /// likes, or a requestor take back what is owed.
    function release(SignedRelease calldata signed) external {
        Release calldata agreed = signed.release;
        _onlyPayer(agreed.requestor);
        Channel storage channel = _present(agreed.requestor, agreed.worker, agreed.epoch);
        _onlySignedBy(agreed.worker, releaseDigest(agreed), signed.v, signed.r, signed.s);
        if (agreed.cumulative > channel.deposit) revert Short(channel.deposit);
        // Both are written before any token moves: the transfers find the epoch closed.
        uint256 due = _claim(channel, agreed.requestor, agreed.worker, agreed.epoch, agreed.cumulative);
        uint256 rest = _close(channel, agreed.requestor, agreed.worker, agreed.epoch);
        _pay(agreed.worker, due);
        _pay(_payerOf(agreed.requestor), rest);
    }

    /// @notice Makes the caller a hot key of `owner`, for good: the owner pays what it opens from now on and gets back what is
    /// unclaimed, of channels opened before too. The owner may be a contract.
    function serveOwner(address owner) external {
        Delegation storage delegation = delegations[msg.sender];
        if (owner == address(0) || owner == address(this) || owner == msg.sender || delegation.owner != address(0)) {
            revert CannotServe(owner);
        }
        delegation.owner = owner;
        emit OwnerServed(msg.sender, owner);
    }

    /// @notice Lets a hot key that serves the caller put `amount` more into channels.
    /// @dev Raising and revoking only: setting a cap would race with a key that spends the old one first.
    function raiseCap(address hotKey, uint96 amount) external {
        Delegation storage delegation = _servant(hotKey);
        uint96 cap = delegation.cap + amount;
        delegation.cap = cap;
        emit CapChanged(hotKey, msg.sender, cap);
    }

    /// @notice Lets a hot key that serves the caller put nothing more into channels.
    function revokeCap(address hotKey) external {
        _servant(hotKey).cap = 0;
        emit CapChanged(hotKey, msg.sender, 0);
    }

    /// @notice The 32 bytes that a requestor signs for a voucher.
    function voucherDigest(Voucher calldata voucher) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(VOUCHER_TYPEHASH, voucher)));
    }

    /// @notice The 32 bytes that a worker signs for a release.
    function releaseDigest(Release calldata agreed) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(RELEASE_TYPEHASH, agreed)));
    }

    function _open(Channel storage channel, address worker, uint24 epoch, uint96 deposit) private {
        if (worker == address(0) || worker == address(this)) revert NotAWorker(worker);
        uint256 next = channel.epochs;
        if (epoch != next) revert NotTheNextEpoch(worker, next);
        if (epoch != 0 && channel.withdrawableAt != CLOSED) revert StillOpen(worker);
        // One write of the whole slot: the compiler makes one for each field, 200 gas more apiece.
        uint256 slot = uint256(deposit) | (uint256(epoch + 1) << 232);
        assembly ("memory-safe") {
            sstore(channel.slot, slot)
        }
        emit Opened(msg.sender, worker, deposit);
    }

    function _redeem(SignedVoucher calldata signed) private returns (uint256 paid) {
        Voucher calldata voucher = signed.voucher;
        _onlySignedBy(voucher.requestor, voucherDigest(voucher), signed.v, signed.r, signed.s);
        Channel storage channel = channels[voucher.requestor][voucher.worker];
        uint256 epochs = channel.epochs;
        if (voucher.epoch >= epochs) revert NotOpen(voucher.requestor, voucher.worker, voucher.epoch);
        // Over: closed, or closed and followed by another one that this voucher must not touch.
        if (voucher.epoch != epochs - 1 || channel.withdrawableAt == CLOSED) return 0;
        paid = _claim(channel, voucher.requestor, voucher.worker, voucher.epoch, voucher.cumulative);
        _pay(voucher.worker, paid);
    }

    /// Writes down that the worker is paid up to `cumulative`, and returns what it has to get for that. What is owed beyond the
    /// deposit is not forgotten: `claimed` grows by what is paid only.
    function _claim(Channel storage channel, address requestor, address worker, uint256 epoch, uint256 cumulative)
        private
        returns (uint256 due)
    {
        uint256 deposit = channel.deposit;
        uint256 claimed = channel.claimed;
        uint256 target = cumulative < deposit ? cumulative : deposit;
        if (target <= claimed) return 0;
        // At most the deposit, which has 96 bits.
        channel.claimed = uint96(target);
        emit Redeemed(requestor, worker, epoch, target);
        return target - claimed;
    }

    /// Writes down that the epoch is over, and returns what has to go back.
    function _close(Channel storage channel, address requestor, address worker, uint256 epoch)
        private
        returns (uint256 rest)
    {
        uint96 claimed = channel.claimed;
        rest = channel.deposit - claimed;
        channel.deposit = claimed;
        channel.withdrawableAt = CLOSED;
        emit Closed(requestor, worker, epoch, rest);
    }

    function _pay(address account, uint256 amount) private {
        if (amount != 0) TOKEN.safeTransfer(account, amount);
    }

    function _payerOf(address requestor) private view returns (address) {
        address owner = delegations[requestor].owner;
        return owner == address(0) ? requestor : owner;
    }

    /// Takes `amount` from the caller or the owner that it serves. Comes last: what it was taken for is written by then.
    function _collect(uint256 amount) private {
        address payer = msg.sender;
        Delegation storage delegation = delegations[msg.sender];
        address owner = delegation.owner;
        if (owner != address(0)) {
            uint96 cap = delegation.cap;
            if (amount > cap) revert OverCap(cap);
            // Not above the cap, so it fits.
            unchecked {
                delegation.cap = cap - uint96(amount);
            }
            payer = owner;
        }
        uint256 before = TOKEN.balanceOf(address(this));
        TOKEN.safeTransferFrom(payer, address(this), amount);
        // A token that keeps a part would leave some channel uncovered.
        if (TOKEN.balanceOf(address(this)) != before + amount) revert NotReceived();
    }

    /// The channel, if `epoch` is open in it.
    function _present(address requestor, address worker, uint256 epoch) private view returns (Channel storage channel) {
        channel = channels[requestor][worker];
        uint256 epochs = channel.epochs;
        if (epochs == 0 || epoch != epochs - 1 || channel.withdrawableAt == CLOSED) {
            revert NotOpen(requestor, worker, epoch);
        }
    }

    function _servant(address hotKey) private view returns (Delegation storage delegation) {
        delegation = delegations[hotKey];
        if (delegation.owner != msg.sender) revert NotYours(hotKey);
    }

    function _onlyPayer(address requestor) private view {
        if (msg.sender != requestor && msg.sender != delegations[requestor].owner) revert NotYours(requestor);
    }

    /// Accepts one signature for each digest and key: low `s`, `v` 27 or 28. Asks no contract (ERC-1271): it could change its mind
    /// about a promise that a worker has worked for.
    function _onlySignedBy(address signer, bytes32 digest, uint8 v, bytes32 r, bytes32 s) private pure {
        (address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecover(digest, v, r, s);
        if (failure != ECDSA.RecoverError.NoError || recovered != signer) revert NotSigned();
    }
}
